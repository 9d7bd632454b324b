"""Expectations: what must hold, and what was measured of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.observe.blocks import BlockSeen
from harness.plugin.contract.base import Capability, ConfigT, Plugin
from harness.plugin.contract.context import Context
from harness.plugin.contract.workload import PlanView
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

    @abstractmethod
    async def evaluate(self, ctx: Context) -> Judgement:
        """Judge. What could not be measured is `unknown`, never `pass`."""
