"""The plugins that a plan has chosen, with their options checked, and what each is there for."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from harness.errors import UsageError
from harness.plugin.contract.base import Config, MachineCapability, Plugin
from harness.plugin.contract.expectation import Expectation
from harness.plugin.contract.fault import Fault
from harness.plugin.contract.task import Task
from harness.plugin.contract.workload import PlanView
from harness.spec.durations import format_duration
from harness.spec.model import SourceRef, StepUse, TaskUse
from harness.spec.node_patterns import select_nodes
from harness.spec.toml_document import KeyPath

PluginT = TypeVar("PluginT", bound=Plugin[Any])

_OPTION = re.compile(r"(\w+(?:\[\d+\])?)[:.]")


@dataclass(frozen=True, slots=True)
class Component(Generic[PluginT]):
    """A chosen plugin with its options checked. `make` gives the instance for one run.

    `brought_by` names the workload that brought this expectation along, "" for one that the playbook asks for.
    `continuous` and `abort` are what the playbook says of an expectation: see PluginUse. `places` are those of options
    that are written, and of the items of lists: "targets", "faults[2]"."""

    id: str
    cls: type[PluginT]
    config: Config
    where: SourceRef
    brought_by: str = ""
    continuous: bool = False
    abort: bool = False
    places: Mapping[str, SourceRef] = field(default_factory=dict)

    def make(self) -> PluginT:
        return self.cls(self.config)

    def place_of(self, complaint: str) -> SourceRef:
        """Of the option that a complaint begins with ("targets: …"), where it does."""
        option = _OPTION.match(complaint)
        return self.places.get(option[1], self.where) if option else self.where

    @property
    def source(self) -> str:
        return f"default of {self.brought_by}" if self.brought_by else str(self.where)


@dataclass(frozen=True, slots=True)
class PlannedTask:
    """A task of `[[prepare]]`: what the playbook says of it, and its plugin."""

    use: TaskUse
    component: Component[Task[Any]]

    @property
    def label(self) -> str:
        return self.use.label


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step of the timeline: what the playbook says of it, and its fault or expectation, where it has one."""

    use: StepUse
    component: Component[Fault[Any]] | Component[Expectation[Any]] | None = None

    @property
    def needs(self) -> frozenset[MachineCapability]:
        """What it needs of its nodes' machines."""
        if self.disturbs is not None:
            return self.disturbs.make().requires_machine()
        return frozenset({MachineCapability.COMMANDS} if self.use.action == "run" else ())

    @property
    def libraries(self) -> frozenset[str]:
        """What it has its nodes' processes load."""
        return self.disturbs.make().requires_libraries() if self.disturbs is not None else frozenset()

    @property
    def judges(self) -> Component[Expectation[Any]] | None:
        component = self.component
        return component if component is not None and issubclass(component.cls, Expectation) else None

    @property
    def disturbs(self) -> Component[Fault[Any]] | None:
        component = self.component
        return component if component is not None and issubclass(component.cls, Fault) else None


StepProblem = tuple[KeyPath, str, SourceRef, str]
"""Where in the file, what, where, and what to do."""


def step_problems(steps: Sequence[PlannedStep], view: PlanView) -> Iterator[StepProblem]:
    """What of a timeline cannot be, as far as that can be known before the run."""
    names: dict[str, PlannedStep] = {}
    healed: dict[str, str] = {}
    earliest = 0.0  # seconds into the drive before which a step cannot begin, by those before it
    for step in steps:
        use = step.use
        if use.at is not None and use.at.height is None:
            at = use.at.span.seconds(view.block_interval)
            if at >= view.duration:
                yield (*use.path, "at"), f"{use.at} is after the end of the drive", use.where, "raise duration"
            elif at < earliest:
                done = f"the steps before it take until {format_duration(earliest)} at least"
                hint = "steps are done in the order in which they stand, one after the other"
                yield (*use.path, "at"), f"{use.at} is too early: {done}", use.where, hint
            else:  # what follows from a moment that cannot be is told when it is another
                earliest = at
        elif (begins := earliest + (use.after.seconds(view.block_interval) if use.after else 0.0)) >= view.duration:
            over = f"when the drive ({format_duration(view.duration)}) is over"
            hint = "raise duration, or let the steps before it take less"
            yield use.path, f"it cannot begin before {format_duration(begins)}, {over}", use.where, hint
        earliest += sum(span.seconds(view.block_interval) for span in (use.after, use.hold) if span is not None)
        if use.action in ("fault", "run"):
            try:
                select_nodes(use.targets, view.nodes)
            except UsageError as error:
                yield (*use.path, "targets"), str(error), use.where, ""
        if use.name in names:
            yield (*use.path, "name"), f"{names[use.name].use.label} has this name already", use.where, ""
        if use.name:
            names[use.name] = step
            if use.hold is not None:
                hint = "leave hold out, or name"
                yield (*use.path, "hold"), "it heals after hold: nothing is left to heal by its name", use.where, hint
        if use.action == "heal" and use.what not in names:
            known = ", ".join(names) or "none before it has one"
            hint = f'give the step with the fault name = "{use.what}"; names: {known}'
            yield (*use.path, "heal"), f"no step before it has a fault of this name: {use.what}", use.where, hint
        elif use.action == "heal" and use.what in healed:
            yield (*use.path, "heal"), f"{healed[use.what]} has healed {use.what} already", use.where, ""
        elif use.action == "heal":
            healed[use.what] = use.label


def shared_wallets(
    users: Iterable[tuple[Component[Any], Collection[int]]],
) -> Iterator[tuple[Component[Any], str, str]]:
    """Workloads that send from wallets of one before them: each would spoil the other's nonces. Who, what, and what to
    do. `users` are workloads, in order, and what each sends from."""
    taken: dict[int, str] = {}
    for workload, wallets in users:
        if shared := sorted(taken.keys() & set(wallets)):
            others = ", ".join(sorted({taken[wallet] for wallet in shared}))
            complaint = (
                f"{workload.id} would send from wallets that {others} sends from, {len(shared)} of them from "
                f"{shared[0]} on, and each would spoil the other's nonces"
            )
            yield workload, complaint, "give each wallets of its own with users and first_wallet"
        taken |= dict.fromkeys(wallets, workload.id)
