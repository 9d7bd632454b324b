"""Expectations: what must hold, and what was measured of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from harness.observe.blocks import BlockSeen
from harness.plugin.contract.base import Capability, ConfigT, Plugin
from harness.plugin.contract.context import Context
from harness.plugin.contract.workload import PlanView
from harness.spec.units import Span
from harness.spec.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Judgement:
    """An expectation's verdict. `measured` stands against `asked` in the summary: both one short line with
    numbers and units. `evidence` is JSON-able: heights, node names, times, whatever proves it."""

    verdict: Verdict
    measured: str
    asked: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Violation:
    """Seen while the run goes on: one line, and its evidence."""

    message: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


class Expectation(Plugin[ConfigT], ABC):
    """Something that must hold. One instance a run, so it may keep what it has seen."""

    watch_every: Span = Span(1.0)
    """How long after `watch` has answered it is asked again; an instance may set its own."""
    sees_violations: ClassVar[bool] = False
    """Whether it can say during the drive that it is violated: so it is for a class with a `watch` or an
    `observe_block`, but one that only takes notes there says False itself."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        own = cls.__dict__.keys()
        if own & {"watch", "observe_block"} and "sees_violations" not in own:
            cls.sees_violations = True

    def requires(self) -> frozenset[Capability]:
        return frozenset()

    def check(self, ctx: PlanView) -> Sequence[str]:
        """What of its options makes no sense with this plan."""
        return ()

    async def capture(self, ctx: Context) -> None:
        """Take the baseline, just before workloads start."""

    def observe_block(self, ctx: Context, seen: BlockSeen) -> Violation | None:
        """Called for every block seen at every node, from capture to evaluate. Quick, and never waits."""
        return None

    async def measure(self, ctx: Context) -> None:
        """Runs beside the workloads from the begin of the drive, and is cancelled at its end: for what has to be
        measured all along."""

    async def watch(self, ctx: Context) -> Violation | None:
        """Whether it is violated now, asked again and again during the drive where the playbook marks it `continuous`.
        What it cannot tell now is no violation. May be cancelled at any await."""
        return None

    @abstractmethod
    async def evaluate(self, ctx: Context) -> Judgement:
        """Judge. What could not be measured is `unknown`, never `pass`."""
