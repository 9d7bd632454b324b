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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.engine.plan import Plan, resolve
from harness.errors import Problem, SpecError
from harness.plugin.discovery import Kind
from harness.plugin.registry import Registry
from harness.spec.model import Playbook, PluginUse, SourceRef, TaskUse, TopologySpec, WalletsSpec
from harness.spec.topology import LAYOUTS
from harness.spec.units import Span


@dataclass(frozen=True)
class Scenario:
    """An immutable builder: every method returns a new one, so that a common beginning can be shared."""

    _topology: TopologySpec
    _where: SourceRef
    _registry: Registry
    _name: str = "scenario"
    _chain: PluginUse | None = None
    _wallets: WalletsSpec = field(default_factory=WalletsSpec)
    _prepare: tuple[TaskUse, ...] = ()
    _workloads: tuple[PluginUse, ...] = ()
    _expectations: tuple[PluginUse, ...] = ()
    _duration: Span = field(default_factory=lambda: Span(60.0))
    _settle: Span | None = None
    _seed: int | None = None
    _ready_timeout: float = 60.0
    _budget: str = "chain"

    @classmethod
    def topology(
        cls, layout: str = "star", *, degree: int | None = None, registry: Registry | None = None, **roles: int
    ) -> Scenario:
        """Begin: a layout, and how many nodes of each role (`validators=3`; singular does as well).

        Raises SpecError for an unknown layout or a count below zero."""
        where = _caller()
        if layout not in LAYOUTS:
            raise _mistake(where, "layout", f'there is no layout "{layout}"', f"write one of {', '.join(LAYOUTS)}")
        if bad := [role for role, count in roles.items() if count < 0]:
            raise _mistake(where, bad[0], "a count of nodes cannot be below zero")
        singular = {role.removesuffix("s"): count for role, count in roles.items()}
        return cls(TopologySpec(layout, singular, degree), where, registry or Registry())

    def named(self, name: str) -> Scenario:
        """What the run is called."""
        return replace(self, _name=name)

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
        use = self._use(name, options, [task.use for task in self._prepare])
        return replace(self, _prepare=(*self._prepare, TaskUse(use, label, hosts, use.where, become)))

    def workload(self, name: str, **options: Any) -> Scenario:
        """Add a workload by its plugin's name."""
        return replace(self, _workloads=(*self._workloads, self._use(name, options, self._workloads)))

    def expect(self, name: str, *, continuous: bool = False, abort: bool = False, **options: Any) -> Scenario:
        """Add an expectation by its plugin's name. `continuous`: it is also judged while the run goes on; `abort`: its
        first violation ends the run."""
        use = replace(self._use(name, options, self._expectations), continuous=continuous or abort, abort=abort)
        return replace(self, _expectations=(*self._expectations, use))

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
        playbook = Playbook(
            name=self._name,
            chain=self._chain or PluginUse("devnet", "devnet", {}, self._where),
            duration=self._duration,
            topology=self._topology,
            wallets=self._wallets,
            prepare=self._prepare,
            workloads=self._workloads,
            expectations=self._expectations,
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

    def _use(self, name: str, options: dict[str, Any], others: Sequence[PluginUse]) -> PluginUse:
        again = sum(use.use == name for use in others)
        return PluginUse(name, f"{name}#{again + 1}" if again else name, options, _caller())

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
