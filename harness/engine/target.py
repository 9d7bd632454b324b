"""Where a plan is going to: a deployer, set up, and the hosts of an inventory."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import anyio.to_thread
from pydantic import ValidationError

from harness.engine.adoption import reports_of
from harness.engine.foresight import refused
from harness.engine.onlooking import NoDeployer
from harness.engine.placement import host_spec, place, place_senders
from harness.engine.plan import Plan
from harness.engine.prepare import Step, assign, hosts_to_prepare
from harness.errors import PluginLoadError, Problem, SpecError, UnknownPluginError, UsageError
from harness.plugin.contract.base import MachineCapability
from harness.plugin.contract.deployer import Access, Deployer, HostReport, PlannedNode
from harness.plugin.discovery import Kind
from harness.plugin.registry import Registry
from harness.record.events import RunStarted
from harness.spec.deployer_choice import ADOPTING, deployer_use
from harness.spec.inventory import Inventory
from harness.spec.manage import is_adopted
from harness.spec.model import SourceRef
from harness.spec.problems import resolve_options
from harness.spec.project import FORKS


@dataclass(frozen=True, slots=True)
class Checked:
    """Nodes that can be where they are to be; `notes` are sentences on what machines do otherwise than one might
    expect."""

    nodes: tuple[PlannedNode, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """A deployer and an inventory, with `--limit` and `-e` applied when nodes are placed."""

    deployer: Deployer[Any]
    inventory: Inventory
    limit: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    forks: int = FORKS

    def place(self, plan: Plan, *, partly: bool = False) -> tuple[PlannedNode, ...]:
        """Raises UsageError when a role has no host; with `partly`, when none has."""
        return place(plan, self.inventory, limit=self.limit, extra=self.extra, partly=partly)

    def senders(self, plan: Plan) -> tuple[PlannedNode, ...]:
        """What sends load from machines of its own. Raises UsageError."""
        return place_senders(plan, self.inventory, limit=self.limit, extra=self.extra)

    async def steps(self, plan: Plan, nodes: Sequence[PlannedNode]) -> tuple[Step, ...]:
        """The tasks of `[[prepare]]` with the hosts of each, of those that the nodes go to. Raises SpecError."""
        hosts = hosts_to_prepare(nodes)
        return await anyio.to_thread.run_sync(assign, plan.prepare, hosts, self.inventory)  # tasks look at their files

    async def assigned(self, plan: Plan) -> tuple[Step, ...]:
        """Who goes where, and the tasks of `[[prepare]]` with their hosts: what files alone tell. Raises UsageError and
        SpecError."""
        return await self.steps(plan, (*self.place(plan), *self.senders(plan)))

    @property
    def adopts(self) -> bool:
        """Whether somebody else's nodes may be among those of a run. Raises UsageError."""
        names = self.inventory.select(self.limit or "all")
        return any(is_adopted(host_spec(self.inventory, name, self.extra).vars) for name in names)

    async def check(self, plan: Plan) -> tuple[PlannedNode, ...]:
        """Place the nodes and see whether the machines can do what the plan needs; touches nothing.

        Raises SpecError with everything that stands in the way."""
        return (await self.look(plan)).nodes

    async def look(self, plan: Plan) -> Checked:
        """The same, with what one should know of it."""
        nodes = tuple(_with_libraries(plan, node) for node in self.place(plan))
        on_machines = [node for node in nodes if node.adoption is None or node.adoption.has_machine]
        senders = self.senders(plan)
        seen = await self.deployer.inspect((*on_machines, *senders), plan.chain, Access(self.forks))
        reports = reports_of(nodes, seen)
        problems = [self._problem(report.host, text) for report in reports for text in report.problems]
        try:
            await self.steps(plan, (*nodes, *senders))
        except SpecError as error:
            problems += error.problems
        if all(node.adoption is None for node in nodes):
            problems += refused(plan)
        reachable = [report for report in reports if not report.problems]
        problems += await anyio.to_thread.run_sync(_unprovided, plan, nodes, reachable)  # chains look at their files
        there: dict[str, set[str]] = {sender.host.name: set() for sender in senders}
        for node in nodes:
            there.setdefault(node.host.name, set()).add(node.spec.name)
        problems += _unloadable(plan, nodes, reachable)
        for capability, needs in plan.machine_needs.items():
            who = {host: tuple(id for id, of in needs.items() if of & names) for host, names in there.items()}
            for (workloads, why), hosts in _without(capability, reachable, who).items():
                need = "needs" if len(workloads) == 1 else "need"
                reason = why or f"{self.deployer.name} cannot do"
                lack = f"{', '.join(workloads)} {need} {capability}, which {reason}"
                problems.append(self._problem(hosts[0], lack, also=hosts[1:]))
        if problems:
            raise SpecError(problems)
        return Checked(nodes, _instead(plan, reachable, there))

    def _problem(self, host: str, text: str, also: Sequence[str] = ()) -> Problem:
        """At the place of the host in the inventory."""
        where = self.inventory.where(host) if host in self.inventory.hosts else SourceRef(self.inventory.source)
        more = f" (and {len(also)} more)" if also else ""
        return Problem(where.file, where.line, where.column, "", f"{self.deployer.name}: host {host}{more}: {text}")


def _unprovided(plan: Plan, nodes: Sequence[PlannedNode], reports: Sequence[HostReport]) -> list[Problem]:
    """What nodes need on such machines, as far as these say what they are, and is not to be had here."""
    deployed_to = {node.host.name for node in nodes if node.adoption is None}
    where, told = plan.playbook.chain.where, dict[str, None]()
    for facts in (report.facts for report in reports if report.host in deployed_to):
        try:
            if facts is not None:
                plan.chain.artifacts(facts)
        except UsageError as error:
            told[str(error)] = None
    return [Problem(where.file, where.line, where.column, "chain", why) for why in told]


def _with_libraries(plan: Plan, node: PlannedNode) -> PlannedNode:
    """Knowing what its process is to load."""
    paths = (one.paths for one in plan.libraries if node.spec.name in one.nodes)
    return replace(node, libraries=frozenset[str]().union(*paths))


def _unloadable(plan: Plan, nodes: Sequence[PlannedNode], reports: Sequence[HostReport]) -> list[Problem]:
    """What nodes' processes are to load and cannot, at the place where the playbook wants it."""
    found = []
    unusable = {report.host: report.unusable for report in reports}
    for wanted in plan.libraries:
        hosts = dict.fromkeys(node.host.name for node in nodes if node.spec.name in wanted.nodes)
        told: dict[str, list[str]] = {}
        for host in hosts:
            for path in sorted(wanted.paths & unusable.get(host, {}).keys()):
                told.setdefault(unusable[host][path], []).append(host)
        for why, where in told.items():
            more = f" (and {len(where) - 1} more)" if len(where) > 1 else ""
            at = wanted.where
            found.append(Problem(at.file, at.line, at.column, wanted.who, f"host {where[0]}{more}: {why}"))
    return found


def _without(
    capability: MachineCapability, reports: Sequence[HostReport], who: Mapping[str, tuple[str, ...]]
) -> dict[tuple[tuple[str, ...], str], list[str]]:
    """Hosts that lack this capability though somebody needs it there, by who that is (`who`, by host) and the reason
    that they give."""
    found: dict[tuple[tuple[str, ...], str], list[str]] = {}
    for report in reports:
        if capability not in report.capabilities and who[report.host]:
            found.setdefault((who[report.host], report.lacks.get(capability, "")), []).append(report.host)
    return found


def _instead(plan: Plan, reports: Sequence[HostReport], there: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """What provides in the place of something else what the plan needs on hosts, by the nodes `there`."""
    found: dict[str, list[str]] = {}
    for capability, needs in plan.machine_needs.items():
        needed = frozenset[str]().union(*needs.values())
        for report in reports:
            told = report.instead.get(capability, "") if capability in report.capabilities else ""
            if told and not needed.isdisjoint(there[report.host]):
                found.setdefault(told, []).append(report.host)
    return tuple(
        f"host {hosts[0]}{f' (and {len(hosts) - 1} more)' if len(hosts) > 1 else ''}: {told}"
        for told, hosts in sorted(found.items())
    )


def choose_target(
    registry: Registry,
    inventory: Inventory,
    *,
    deployer: str = "",
    options: Mapping[str, Any] | None = None,
    limit: str = "",
    extra: Mapping[str, Any] | None = None,
    forks: int = FORKS,
) -> Target:
    """The deployer that the inventory names (or `deployer`), with its options checked; none where no host is a machine.

    Raises SpecError for what the inventory says, UnknownPluginError or PluginLoadError for `deployer`."""
    use = deployer_use(inventory, extra, limit)
    if use.use == ADOPTING and not deployer:
        return Target(NoDeployer(), inventory, limit, extra or {}, forks)
    try:
        cls = registry.get(Kind.DEPLOYER, deployer or use.use)
    except (UnknownPluginError, PluginLoadError) as error:
        if deployer:
            raise
        raise SpecError([Problem(use.where.file, use.where.line, use.where.column, "", str(error))]) from None
    chosen = replace(use, options={**(use.options if cls.name == use.use else {}), **(options or {})})
    return Target(cls(resolve_options(chosen, cls.Config, inventory.document)), inventory, limit, extra or {}, forks)


def recorded_deployer(registry: Registry, run: RunStarted) -> Deployer[Any]:
    """The deployer of a past run, set up as it was then. Raises UnknownPluginError, PluginLoadError, and UsageError for
    options that this version of it does not take."""
    if run.deployer == ADOPTING:
        return NoDeployer()
    cls: type[Deployer[Any]] = registry.get(Kind.DEPLOYER, run.deployer)
    try:
        return cls(cls.Config.model_validate(dict(run.deployer_options)))
    except ValidationError as error:
        raise UsageError(f"the deployer {run.deployer} no longer takes the options of that run: {error}") from None
