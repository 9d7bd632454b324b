"""Plan: everything about a run that can be decided before any machine is touched."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from typing import Any

from pydantic import ValidationError

from harness.engine.components import Component, PlannedStep, PlannedTask, shared_wallets, step_problems
from harness.engine.seed import derive, fresh_seed
from harness.errors import HarnessError, PluginLoadError, Problem, SpecError, UnknownPluginError, UsageError
from harness.plugin.contract.base import MachineCapability
from harness.plugin.contract.chain import Chain, Timing
from harness.plugin.contract.expectation import Expectation
from harness.plugin.contract.fault import Fault, FaultTurn
from harness.plugin.contract.fault_use import FAULTS
from harness.plugin.contract.workload import PlanView, Workload
from harness.plugin.discovery import Kind
from harness.plugin.registry import Registry
from harness.spec.local_path import context_for
from harness.spec.model import Playbook, PluginUse, SourceRef, StepUse
from harness.spec.node_patterns import select_nodes
from harness.spec.playbook import Draft, PlaybookFile, role_path
from harness.spec.playbook_model import STEP_KEYS
from harness.spec.problems import known_hint, problems_from_validation
from harness.spec.toml_document import KeyPath, TomlDocument, show_path
from harness.spec.topology import Topology, build_topology


@dataclass(frozen=True, slots=True)
class RecordedFaults:
    """The schedules of an earlier run, by component, and the seed that fixed what its faults drew. `unscheduled` are
    its faults that cannot be played again, as they were of no schedule, and the playbook does not say them: one phrase
    each."""

    run_id: str
    seed: int
    turns: Mapping[str, tuple[FaultTurn, ...]]
    unscheduled: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Preloaded:
    """What the processes of `nodes` are to load, the playbook's component `who` having said so at `where`: paths of
    shared libraries there."""

    who: str
    where: SourceRef
    paths: frozenset[str]
    nodes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Plan:
    """A run without machines: `deployer.deploy(plan)` gives it some. Seconds throughout.

    `settle` None: until the blocks of the drive are final. `pace` is that of an adopted network,
    `recorded` what its nemeses are to play again (harness.engine.replay)."""

    playbook: Playbook
    seed: int
    topology: Topology
    chain: Chain[Any]
    workloads: tuple[Component[Workload[Any]], ...]
    expectations: tuple[Component[Expectation[Any]], ...]
    duration: float
    settle: float | None
    view: PlanView
    prepare: tuple[PlannedTask, ...] = ()
    steps: tuple[PlannedStep, ...] = ()
    pace: Timing | None = None
    recorded: RecordedFaults | None = None

    @property
    def timing(self) -> Timing:
        return self.pace or self.chain.timing

    def paced(self, timing: Timing) -> Plan:
        """The same plan on a network of this pace, whatever the chain's options say: what is said in blocks takes as
        long as they do there. Raises SpecError where that makes a plan that cannot be."""
        view = _view(self.playbook, self.topology, timing.block_interval, self.chain)
        settle = self.playbook.settle.seconds(timing.block_interval) if self.playbook.settle else None
        of_steps = (step.component for step in self.steps if step.component is not None)
        components: tuple[Component[Any], ...] = (*self.workloads, *self.expectations, *of_steps)
        problems = [
            Problem(where.file, where.line, where.column, component.id, complaint)
            for component in components
            for complaint in component.make().check(view)
            for where in [component.place_of(complaint)]
        ]
        if problems:
            raise SpecError(problems)
        return replace(self, view=view, duration=view.duration, settle=settle, pace=timing)

    @property
    def machine_needs(self) -> Mapping[MachineCapability, Mapping[str, frozenset[str]]]:
        """What the machines must be able to do: which workload needs it, of which nodes."""
        needs: dict[MachineCapability, dict[str, frozenset[str]]] = {}
        for component in self.workloads:
            workload = component.make()
            names = self._named(workload.acts_on())
            for capability in workload.requires_machine():
                needs.setdefault(capability, {})[component.id] = names
        for step in self.steps:
            names = self._named(step.use.targets)
            for capability in step.needs:
                needs.setdefault(capability, {})[f"{step.use.label} ({step.use.what})"] = names
        return needs

    @property
    def libraries(self) -> Sequence[Preloaded]:
        """Shared libraries that faults are to have nodes' processes load."""
        found = []
        for component in self.workloads:
            workload = component.make()
            if paths := workload.requires_libraries():
                found.append(Preloaded(component.id, component.where, paths, self._named(workload.acts_on())))
        for step in self.steps:
            if paths := step.libraries:
                found.append(Preloaded(step.use.label, step.use.where, paths, self._named(step.use.targets)))
        return found

    def _named(self, pattern: str) -> frozenset[str]:
        return frozenset(node.name for node in select_nodes(pattern, self.topology.nodes))


@dataclass(frozen=True, slots=True)
class Outline:
    """What a playbook comes to. Where there are `problems`, `plan` is not to be run: it is of what has none, its steps
    up to the first that has one, for those who look for more; None where nothing more can be said."""

    plan: Plan | None
    problems: tuple[Problem, ...] = ()

    def sound(self) -> Plan:
        """Raises SpecError."""
        if self.problems or self.plan is None:
            raise SpecError(self.problems)
        return self.plan


def resolve(playbook: Playbook, registry: Registry, *, seed: int | None = None) -> Plan:
    """The plan of a playbook that was built in code. Raises SpecError with every problem found."""
    draft = Draft(
        playbook,
        (),
        playbook.chain,
        playbook.topology,
        playbook.workloads,
        playbook.expectations,
        playbook.prepare,
        playbook.steps,
    )
    return _Resolver(draft, registry, None).outline(seed, fresh_seed()).sound()


def resolve_file(
    file: PlaybookFile,
    registry: Registry,
    *,
    extra: Mapping[str, Any] | None = None,
    elsewhere: Collection[str] = (),
    seed: int | None = None,
) -> tuple[Plan, ...]:
    """The plans of a playbook's file. Raises SpecError with every problem of the file; see `outline_file`."""
    outlines = outline_file(file, registry, extra=extra, elsewhere=elsewhere, seed=seed)
    if problems := {problem for outline in outlines for problem in outline.problems}:
        raise SpecError(problems)
    return tuple(outline.sound() for outline in outlines)


def outline_file(
    file: PlaybookFile,
    registry: Registry,
    *,
    extra: Mapping[str, Any] | None = None,
    elsewhere: Collection[str] = (),
    seed: int | None = None,
) -> tuple[Outline, ...]:
    """What a playbook's file comes to: one for each combination of its matrix.

    `extra` is what `-e` gave, `elsewhere` names that it may set for others than this playbook. Problems are
    all of the file: those of its own keys, of the options of the plugins that it uses, of what these need and the
    chain lacks, and of what cannot be together."""
    drawn = fresh_seed()  # one for all: the runs of a matrix differ in their variables alone
    drafts = (file.draft(each, extra=extra, elsewhere=elsewhere) for each in file.combinations(extra))
    return tuple(_Resolver(draft, registry, file.document).outline(seed, drawn) for draft in drafts)


class _Resolver:
    """Chooses plugins, checks their options and needs, lays out the topology; collects every problem."""

    def __init__(self, draft: Draft, registry: Registry, document: TomlDocument | None) -> None:
        self.draft = draft
        self.registry = registry
        self.document = document
        self.problems: list[Problem] = []

    def outline(self, seed: int | None, drawn: int) -> Outline:
        """`seed` wins over the playbook's own; `drawn` is for when there is neither."""
        plan = self._plan(seed, drawn)
        return Outline(plan, tuple(sorted({*self.draft.problems, *self.problems})))

    def _plan(self, seed: int | None, drawn: int) -> Plan | None:
        draft = self.draft
        chain_component = self._component(Kind.CHAIN, draft.chain) if draft.chain else None
        tasks = [(use, self._component(Kind.TASK, use.use)) for use in draft.prepare]
        workloads = tuple(filter(None, (self._component(Kind.WORKLOAD, use) for use in draft.workloads)))
        asked = tuple(filter(None, (self._component(Kind.EXPECTATION, use) for use in draft.expectations)))
        steps = tuple(map(self._step, draft.steps))
        judged = tuple(step.judges for step in steps if step.judges is not None)
        chain: Chain[Any] | None = chain_component.make() if chain_component else None
        has_roles = self._check_roles()
        if chain is not None:
            for component in (*workloads, *asked, *judged):
                self._check_needs(component, chain)
        playbook = draft.playbook
        if playbook is None or chain is None or not has_roles:
            return None
        chosen = next(s for s in (seed, playbook.seed, drawn) if s is not None)
        try:
            topology = build_topology(playbook.topology, derive(chosen, "topology"))
        except UsageError as error:
            self._problem(("topology", "late"), str(error), playbook.chain.where)
            return None
        if all(node.late for node in topology.nodes):
            self._problem(("topology", "late"), "all nodes are late: there would be no network", playbook.chain.where)
        complaints = chain.check(topology, playbook.wallets)
        for complaint in complaints:
            self._problem(playbook.chain.path, complaint, playbook.chain.where)
        view = _view(playbook, topology, chain.timing.block_interval, chain)
        brought = self._brought_along(workloads, asked)
        for component in brought:
            self._check_needs(component, chain)
        disturbing = [step.disturbs for step in steps if step.disturbs is not None]
        for component in (*workloads, *asked, *brought, *judged, *disturbing):
            for complaint in self._ask(component, lambda plugin: plugin.check(view)) or ():
                at, path = component.place_of(complaint), show_path(self._path_of(component))
                self.problems.append(Problem(at.file, at.line, at.column, path, complaint))
        for problem in step_problems(steps, view):
            self._problem(*problem)
        wallets = [self._ask(one, lambda plugin: frozenset(plugin.wallets(view))) or frozenset() for one in workloads]
        for workload, complaint, hint in shared_wallets(zip(workloads, wallets, strict=True)):
            self._problem(self._path_of(workload), complaint, workload.where, hint)
        even = dict.fromkeys(view.node_names, 1)
        for step in steps:
            if step.disturbs is not None:
                with suppress(UsageError):  # for a pattern of nobody, which is told of already
                    names = [node.name for node in select_nodes(step.use.targets, topology.nodes)]
                    self._ask(step.disturbs, partial(_takes, targets=names, powers=even))
        of_all = not draft.problems and len(workloads) == len(draft.workloads)
        asks = draft.expectations or any(step.use.action == "expect" for step in steps)
        if of_all and not asks and not brought:
            self._problem(
                ("name",),
                "nothing is judged: there is no expectation, and no workload that brings one",
                playbook.chain.where,
                'write [[expectations]] with use = "consensus-liveness"',
            )
        if complaints:
            return None
        settle = playbook.settle.seconds(view.block_interval) if playbook.settle else None
        return Plan(
            playbook=playbook,
            seed=chosen,
            topology=topology,
            chain=chain,
            workloads=tuple(one for one in workloads if self._is_sound(self._path_of(one))),
            expectations=(*asked, *brought),
            duration=view.duration,
            settle=settle,
            view=view,
            prepare=tuple(PlannedTask(use, component) for use, component in tasks if component is not None),
            steps=tuple(takewhile(lambda step: self._is_sound(step.use.path, but="at"), steps)),
        )

    def _is_sound(self, path: KeyPath, but: str = "") -> bool:
        """Whether nothing is wrong with this table, or with its key `but` alone."""
        here, aside = show_path(path), show_path((*path, but))
        problems = (problem.path for problem in (*self.draft.problems, *self.problems) if problem.path != aside)
        return not here or not any(path == here or path.startswith((f"{here}.", f"{here}[")) for path in problems)

    def _step(self, use: StepUse) -> PlannedStep:
        kind = {"fault": Kind.FAULT, "expect": Kind.EXPECTATION}.get(use.action)
        beside = STEP_KEYS[use.action]
        return PlannedStep(
            use, self._component(kind, use.use, beside=beside) if kind is not None and use.use is not None else None
        )

    def _component(
        self, kind: Kind, use: PluginUse, brought_by: str = "", beside: Sequence[str] = ()
    ) -> Component[Any] | None:
        try:
            cls = self.registry.get(kind, use.use)
        except (UnknownPluginError, PluginLoadError) as error:
            self._problem((*use.path, "use"), str(error), use.where)
            return None
        broken = self.draft.broken
        try:
            config = cls.Config.model_validate(dict(use.options), context=self._validation_context)
        except ValidationError as error:
            self.problems += problems_from_validation(
                error, self.document, use.path, cls.Config, use.where, use.options, broken, beside
            )
            return None
        if use.path and any(path[: len(use.path)] == use.path for path in broken):
            return None
        if (use.continuous or use.abort) and not cls.sees_violations:
            key = "abort" if use.abort else "continuous"
            why = f"{use.use} is judged when the run is over: it cannot say before that it is violated"
            self._problem((*use.path, key), why, use.where, f"leave {key} out")
        return Component(
            use.id, cls, config, use.where, brought_by, use.continuous or use.abort, use.abort, self._places(use)
        )

    def _places(self, use: PluginUse) -> Mapping[str, SourceRef]:
        if self.document is None or not use.path:
            return {}
        paths: list[KeyPath] = [(key,) for key in use.options]
        paths += [
            (key, index) for key, items in use.options.items() if isinstance(items, list) for index in range(len(items))
        ]
        return {show_path(path): self.document.where((*use.path, *path)) for path in paths}

    @property
    def _validation_context(self) -> Mapping[str, Any]:
        return {**context_for(self.draft.source), FAULTS: partial(self.registry.get, Kind.FAULT)}

    def _check_roles(self) -> bool:
        """What the chain is known for by its class: whatever may be wrong with its options. Whether it has all."""
        use, topology = self.draft.chain, self.draft.topology
        if use is None or topology is None:
            return False
        try:
            cls = self.registry.get(Kind.CHAIN, use.use)
        except (UnknownPluginError, PluginLoadError):
            return False  # as `_component` has told
        for role in topology.roles:
            if role not in cls.roles:
                path = role_path(self.document, role) if self.document else ("topology", role)
                hint = known_hint(role, list(cls.roles), "its roles")
                self._problem(path, f'the chain {cls.name} has no role "{role}"', use.where, hint)
        unsure = [path[0] for path in self.draft.broken] + [p.path.partition(".")[0] for p in self.draft.problems]
        if "topology" in unsure:
            return False
        if not any(n and cls.roles[role].votes for role, n in topology.roles.items() if role in cls.roles):
            voting = " or ".join(role for role, info in cls.roles.items() if info.votes)
            self._problem(("topology",), "no node takes part in consensus", use.where, f"ask for at least one {voting}")
            return False
        return all(role in cls.roles for role in topology.roles)

    def _brought_along(
        self, workloads: Sequence[Component[Any]], asked: Iterable[Component[Any]]
    ) -> list[Component[Any]]:
        """Default expectations of the workloads, but those that the playbook asks for itself."""
        there = {component.cls.name for component in asked} | {use.use for use in self.draft.expectations}
        brought = []
        for workload in workloads:
            for default in self._ask(workload, lambda plugin: plugin.expectations()) or ():
                if default.use not in there:
                    there.add(default.use)
                    use = PluginUse(default.use, default.use, default.options, workload.where)
                    brought.append(self._component(Kind.EXPECTATION, use, brought_by=workload.id))
        return [component for component in brought if component is not None]

    def _check_needs(self, component: Component[Any], chain: Chain[Any]) -> None:
        path = self._path_of(component)
        needed = self._ask(component, lambda plugin: plugin.requires()) or frozenset()
        for capability in sorted(needed - chain.capabilities):
            self._problem(
                (*path, "use") if path else (),
                f"{component.id} needs {capability} of the chain, which {chain.name} has not",
                component.where,
                f"{chain.name} has: {', '.join(sorted(chain.capabilities))}",
            )

    def _ask(self, component: Component[Any], call: Callable[[Any], Any]) -> Any:
        """Ask a plugin something; whatever it raises is a problem of the line that uses it, and the answer None."""
        try:
            return call(component.make())
        except Exception as error:  # noqa: BLE001 - a third party's code may raise anything
            why = str(error) if isinstance(error, HarnessError) else f"it failed with {type(error).__name__}: {error}"
            self._problem((*self._path_of(component), "use"), f"{component.id}: {why}", component.where)
            return None

    def _path_of(self, component: Component[Any]) -> tuple[str | int, ...]:
        uses = (*self.draft.workloads, *self.draft.expectations, *(step.use for step in self.draft.steps if step.use))
        return next((use.path for use in uses if use.id == component.id and use.where == component.where), ())

    def _problem(self, path: KeyPath, message: str, where: SourceRef, hint: str = "") -> None:
        line, column = self.document.locate(path) if self.document is not None and path else (where.line, where.column)
        self.problems.append(Problem(where.file, line, column, show_path(path), message, hint))


def _takes(fault: Fault[Any], targets: Sequence[str], powers: Mapping[str, int]) -> None:
    """Raises for targets with which it cannot be."""
    fault.downs(targets, powers)
    fault.cuts(targets, powers)


def _view(playbook: Playbook, topology: Topology, block_interval: float, chain: Chain[Any]) -> PlanView:
    return PlanView(
        roles=playbook.topology.roles,
        nodes=topology.nodes,
        wallets=playbook.wallets.count,
        duration=playbook.duration.seconds(block_interval),
        block_interval=block_interval,
        invalid_kinds=chain.invalid_kinds,
    )
