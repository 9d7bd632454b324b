"""The same plan that a playbook makes, built in Python:

    from harness import Scenario, deployer

    plan = (
        Scenario.topology(layout="star", validators=3, executors=2)
        .wallets(50)
        .transactions(rate=5, users=20)
        .expect_consensus_liveness()
        .run_for("60s")
        .build()
    )
    async with deployer("process").deploy(plan) as runner:
        verdict = await runner.run(plan)

Every installed workload is a method here (`chaos.restart` is `.chaos_restart(…)`), and so is every expectation,
after `expect_`. A mistake is told with the line of the call that made it."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from harness.engine.plan import Plan, resolve
from harness.errors import Problem, SpecError
from harness.plugin.discovery import Kind
from harness.plugin.registry import Registry
from harness.spec.model import Playbook, PluginUse, SourceRef, StepUse, TaskUse, TopologySpec, WalletsSpec
from harness.spec.playbook import Apart, singular, step_use
from harness.spec.playbook_model import StepModel
from harness.spec.problems import problems_from_validation
from harness.spec.topology import LAYOUTS
from harness.spec.units import Span


@dataclass(frozen=True)
class Scenario:
    """An immutable builder: every method returns a new one, so that a common beginning can be shared."""

    _topology: TopologySpec
    _where: SourceRef
    _registry: Registry
    _name: str = "scenario"
    _description: str = ""
    _chain: PluginUse | None = None
    _wallets: WalletsSpec = field(default_factory=WalletsSpec)
    _prepare: tuple[TaskUse, ...] = ()
    _workloads: tuple[PluginUse, ...] = ()
    _expectations: tuple[PluginUse, ...] = ()
    _steps: tuple[StepUse, ...] = ()
    _duration: Span = field(default_factory=lambda: Span(60.0))
    _settle: Span | None = None
    _seed: int | None = None
    _ready_timeout: float = 60.0
    _budget: str = "chain"

    @classmethod
    def topology(
        cls,
        layout: str = "star",
        *,
        degree: int | None = None,
        late: str = "",
        registry: Registry | None = None,
        **roles: int,
    ) -> Scenario:
        """Begin: a layout, and how many nodes of each role (`validators=3`; singular does as well). `late`: the pattern
        of nodes that are not started before a fault starts them.

        Raises SpecError for an unknown layout or a count below zero."""
        where = _caller()
        if layout not in LAYOUTS:
            raise _mistake(where, "layout", f'there is no layout "{layout}"', f"write one of {', '.join(LAYOUTS)}")
        if bad := [role for role, count in roles.items() if count < 0]:
            raise _mistake(where, bad[0], "a count of nodes cannot be below zero")
        counts = {singular(role): count for role, count in roles.items()}
        return cls(TopologySpec(layout, counts, degree, late), where, registry or Registry())

    def named(self, name: str, description: str = "") -> Scenario:
        """What the run is called, and what it is about."""
        return replace(self, _name=name, _description=description)

    def chain(self, name: str, **options: Any) -> Scenario:
        """Which chain the nodes run (default: devnet), and its options."""
        return replace(self, _chain=PluginUse(name, name, options, _caller()))

    def wallets(self, count: int, *, balance: int = 1_000_000) -> Scenario:
        """Accounts funded at genesis."""
        return replace(self, _wallets=WalletsSpec(count, balance))

    def prepare(
        self, name: str, *, label: str = "", hosts: str = "all", become: bool | None = None, **options: Any
    ) -> Scenario:
        """Add a task that readies machines, by its plugin's name: what it is called, on which of the run's hosts, and
        whether as root (None: as the inventory says)."""
        use = PluginUse(name, name, options, _caller())
        return replace(self, _prepare=(*self._prepare, TaskUse(use, label, hosts, use.where, become)))

    def workload(self, name: str, **options: Any) -> Scenario:
        """Add a workload by its plugin's name."""
        return replace(self, _workloads=(*self._workloads, PluginUse(name, name, options, _caller())))

    def expect(self, name: str, *, continuous: bool = False, abort: bool = False, **options: Any) -> Scenario:
        """Add an expectation by its plugin's name. `continuous`: it is also judged while the run goes on; `abort`: its
        first violation ends the run."""
        use = PluginUse(name, name, options, _caller(), continuous=continuous or abort, abort=abort)
        return replace(self, _expectations=(*self._expectations, use))

    def step(self, **table: Any) -> Scenario:
        """Add a step of the timeline, with the keys of a `[[steps]]` table: `step(at="block 30", fault="partition",
        shape="halves", hold="20 blocks")`, `step(expect="convergence", within="10 blocks")`, `step(run=["sync"])`.
        Raises SpecError for keys that do not go together."""
        where, number = _caller(), len(self._steps)
        try:
            model = StepModel.model_validate(table)
        except ValidationError as error:
            raise SpecError(problems_from_validation(error, None, (), StepModel, where, table)) from None
        name = model.fault or model.expect
        use = PluginUse(name, name, dict(model.model_extra or {}), where) if name is not None else None
        return replace(self, _steps=(*self._steps, step_use(model, number, where, (), use)))

    def run_for(self, duration: str) -> Scenario:
        """How long workloads run: `"60s"`, `"20 blocks"`. Raises SpecError."""
        return replace(self, _duration=self._span("run_for", duration))

    def settle_for(self, duration: str) -> Scenario:
        """How long to wait after the workloads, instead of the chain's finality depth. Raises SpecError."""
        return replace(self, _settle=self._span("settle_for", duration))

    def seed(self, seed: int) -> Scenario:
        """Fix the seed; without it a fresh one is drawn and recorded."""
        return replace(self, _seed=seed)

    def ready_within(self, seconds: float) -> Scenario:
        """How long nodes may take to answer and to make the first block."""
        return replace(self, _ready_timeout=seconds)

    def unlimited_faults(self) -> Scenario:
        """Lift the fault budget: more may be down at once than the chain tolerates."""
        return replace(self, _budget="unlimited")

    def build(self) -> Plan:
        """Check everything and make the plan. Raises SpecError with every problem found."""
        apart = Apart()  # in the order of a playbook's sections
        playbook = Playbook(
            name=self._name,
            description=self._description,
            chain=apart(self._chain or PluginUse("devnet", "devnet", {}, self._where)),
            duration=self._duration,
            topology=self._topology,
            wallets=self._wallets,
            prepare=tuple(replace(task, use=apart(task.use)) for task in self._prepare),
            workloads=tuple(map(apart, self._workloads)),
            expectations=tuple(map(apart, self._expectations)),
            steps=tuple(replace(step, use=apart(step.use)) if step.use else step for step in self._steps),
            seed=self._seed,
            settle=self._settle,
            ready_timeout=self._ready_timeout,
            budget=self._budget,
        )
        return resolve(playbook, self._registry)

    def __getattr__(self, attribute: str) -> Callable[..., Scenario]:
        if attribute.startswith("_"):
            raise AttributeError(attribute)
        kind, add = (
            (Kind.EXPECTATION, self.expect) if attribute.startswith("expect_") else (Kind.WORKLOAD, self.workload)
        )
        wanted = attribute.removeprefix("expect_")
        methods = {name.replace("-", "_").replace(".", "_"): name for name in self._registry.names(kind)}
        if wanted not in methods:
            near = difflib.get_close_matches(wanted, methods, n=1)
            prefix = "expect_" if kind is Kind.EXPECTATION else ""
            meant = f'; did you mean "{prefix}{near[0]}"?' if near else ""
            there = ", ".join(f"{prefix}{method}" for method in methods)
            raise AttributeError(f'no {kind} is called "{attribute}"{meant} (installed: {there})')
        return lambda **options: add(methods[wanted], **options)

    def _span(self, method: str, text: str) -> Span:
        try:
            return Span.parse(text)
        except ValueError as error:
            raise _mistake(_caller(), method, str(error)) from None


def _caller() -> SourceRef:
    """The nearest line that is not in this module: the user's."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename == __file__ and frame.f_back is not None:
        frame = frame.f_back
    return SourceRef(frame.f_code.co_filename, frame.f_lineno, 1)


def _mistake(where: SourceRef, path: str, message: str, hint: str = "") -> SpecError:
    return SpecError([Problem(where.file, where.line, where.column, path, message, hint)])
