"""The expectation `block-timing`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import mean, stdev
from typing import Any

from pydantic import Field

from harness.api import (
    BlockSeen,
    Config,
    Context,
    Expectation,
    Judgement,
    Span,
    Verdict,
    Violation,
    format_duration,
)
from harness_checks.arrivals import (
    between_prompt,
    by_chance,
    deviation,
    distance,
    geometric,
    kolmogorov,
    percentile,
    student,
)
from harness_checks.clocks import HeaderClocks
from harness_checks.stretches import Stretch
from harness_checks.subjects import held_up

KEPT = 200_000
"""Blocks, the newest, whose times are remembered."""


class BlockTimingConfig(Config):
    """Options of `block-timing`."""

    tolerance: float = Field(0.1, ge=0, le=10, description="how far the mean may be off, as a share of the promised")
    significance: float = Field(1e-4, gt=0, lt=0.5, description="how often chance alone may fail each test")
    min_intervals: int = Field(30, ge=2, description="fewer undisturbed intervals than this tell nothing")
    after_fault: Span = Field(Span(20, "blocks"), description="how long after a healing intervals are not looked at")
    p50: Span | None = Field(None, description="the median interval may be no longer")
    p90: Span | None = Field(None, description="nine of ten intervals may be no longer")
    p99: Span | None = Field(None, description="99 of 100 intervals may be no longer")
    max: Span | None = Field(None, description="no interval may be longer")


@dataclass(frozen=True, slots=True)
class _Timed:
    """A block: its parent, who proposed it, its own time (Unix seconds), and when it was first seen (monotonic and Unix
    seconds)."""

    parent: str
    proposer: str
    time: float
    at: float
    wall: float
    live: bool


class BlockTiming(Expectation[BlockTimingConfig]):
    """Blocks come at the pace that the chain promises: by the times in their headers, and by when the feed saw them.

    Mean: within `tolerance` of the promised interval, and what chance adds to it. For a slot lottery, whose deviation
    is known, that is a z test; where blocks come steadily, whose deviation nobody promises, Student's t test with the
    measured one. Each fails a healthy chain, whose true mean is within the tolerance, with at most the chance
    `significance`. Distribution, for a slot lottery only: Kolmogorov-Smirnov test of header intervals against the
    geometric (exponential, where there are no slots) one at `significance`; steady chains promise no distribution that
    could be tested. The chain says whether it is a lottery (`Timing.slot`). Percentiles are reported, and judged where
    limits are given.
    Intervals are those of the best chain in the drive, without stretches in which any node was disturbed, and
    `after_fault`. A header's time that is a slot's is no clock's. Others are corrected by the offsets of the clocks
    that they are by (`Timing.stamped_by`), which are measured before and after the drive where machines run commands.
    Arrivals are all by the controller's clock; only blocks seen live count, and the mean is that between the promptest
    arrival of the first third and that of the last.
    Unknown with fewer than `min_intervals`, and where arrivals alone are wrong and the harness itself was held up for
    more than a tenth of the drive."""

    name = "block-timing"
    sees_violations = False
    Config = BlockTimingConfig

    def __init__(self, config: BlockTimingConfig) -> None:
        super().__init__(config)
        self._blocks: dict[str, _Timed] = {}
        self._clocks = HeaderClocks()

    async def capture(self, ctx: Context) -> None:
        await self._clocks.measure(ctx)

    def observe_block(self, ctx: Context, seen: BlockSeen) -> Violation | None:
        header = seen.header
        if header.hash not in self._blocks:
            self._blocks[header.hash] = _Timed(
                header.parent, header.proposer, header.time, seen.at, seen.wall, seen.live
            )
            if len(self._blocks) > KEPT:
                del self._blocks[next(iter(self._blocks))]
        return None

    async def evaluate(self, ctx: Context) -> Judgement:
        await self._clocks.measure(ctx)
        interval, slot = ctx.block_interval, _slot(ctx)
        test = f"lottery of {format_duration(slot)} slots" if slot else "t test"
        asked = (
            f"mean {format_duration(interval)} ± {self.config.tolerance:.0%}, {test} at {self.config.significance:g}"
        )
        found = self._intervals(ctx)
        evidence: dict[str, Any] = {
            "promised_interval": interval,
            "disturbed_intervals_left_out": found.left_out,
            "clocks": self._clocks.evidence(),
        }
        fewest = min(len(found.headers), len(found.arrivals))
        if fewest < self.config.min_intervals:
            return Judgement(Verdict.UNKNOWN, f"only {fewest} undisturbed intervals", asked, evidence)
        pace, count = found.pace()
        evidence["header_times"], headers = judge(found.headers, interval, slot, self.config, distribution=True)
        evidence["arrivals"], arrivals = judge(found.arrivals, interval, slot, self.config, pace=pace, count=count)
        wrong = [f"header times: {what}" for what in headers] + [f"arrivals: {what}" for what in arrivals]
        if wrong:
            more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            evidence["wrong"] = wrong
            if not headers and (doubt := held_up(ctx)):
                return Judgement(Verdict.UNKNOWN, f"{wrong[0]}{more}, but {doubt}", asked, evidence)
            return Judgement(Verdict.FAIL, f"{wrong[0]}{more}", asked, evidence)
        measured = f"mean {format_duration(mean(found.headers))} of {len(found.headers)} intervals"
        if slot:
            measured += f", KS p = {evidence['header_times']['ks_p']:.2g}"
        return Judgement(Verdict.PASS, measured, asked, evidence)

    def _intervals(self, ctx: Context) -> _Intervals:
        """Walked down the best chain."""
        window, rest = ctx.window, self.config.after_fault.seconds(ctx.block_interval)
        end = ctx.clock.now() if window.end is None else window.end
        ahead = self._clocks.ahead()
        disturbed = [
            Stretch(record.injected_at, float("inf") if record.healed_at is None else record.healed_at + rest)
            for record in ctx.faults.history
            if record.injected_at is not None
        ]
        found = _Intervals()
        hash = max(ctx.feed.nodes.values(), key=lambda view: view.height).hash
        while (block := self._blocks.get(hash)) and (parent := self._blocks.get(block.parent)):
            hash = block.parent
            made, before = _made(block, ahead), _made(parent, ahead)
            if before < window.start or made > end:
                continue
            if any(before < stretch.end and stretch.start < max(made, block.at) for stretch in disturbed):
                found.left_out += 1
                continue
            found.headers.append(made - before)
            if block.live and parent.live:
                found.arrivals.append(block.at - parent.at)
                found.seen.append((made, block.at))
        return found


@dataclass(slots=True)
class _Intervals:
    """Seconds from block to block, newest first: by header times, by arrivals of blocks that were seen live; when those
    say that they were made, and when they came; how many were left out as disturbed."""

    headers: list[float] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)
    seen: list[tuple[float, float]] = field(default_factory=list)
    left_out: int = 0

    def pace(self) -> tuple[float, int]:
        """The mean interval by arrival, and of how many, as if what was left out had taken no time."""
        made = at = 0.0
        mades, ats = [], []
        for interval, (own, came) in zip(reversed(self.arrivals), reversed(self.seen), strict=True):
            at += interval
            made = at - (came - own)
            mades.append(made)
            ats.append(at)
        return between_prompt(mades, ats)


def judge(
    values: list[float],
    interval: float,
    slot: float,
    config: BlockTimingConfig,
    *,
    distribution: bool = False,
    pace: float | None = None,
    count: int = 0,
) -> tuple[dict[str, Any], list[str]]:
    """Figures of these intervals (seconds), and what is wrong with them. `pace` is their mean of `count` of them, where
    it is known better than by all. Pure."""
    measured, count = (mean(values), len(values)) if pace is None else (pace, count)
    wrong = []
    if slot:
        error = by_chance(config.significance) * deviation(interval, slot)
    else:
        error = student(config.significance, len(values) - 1) * stdev(values)
    allowed = config.tolerance * interval + error / count**0.5
    found: dict[str, Any] = {
        "intervals": len(values),
        "mean": round(measured, 4),
        "mean_of": count,
        "mean_off_allowed": round(allowed, 4),
    }
    if abs(measured - interval) > allowed:
        wrong.append(f"mean interval {format_duration(measured)}, promised {format_duration(interval)}")
    shares = {"p50": (0.5, config.p50), "p90": (0.9, config.p90), "p99": (0.99, config.p99), "max": (1.0, config.max)}
    for name, (share, limit) in shares.items():
        found[name] = round(percentile(values, share), 4)
        if limit is not None and found[name] > limit.seconds(interval):
            wrong.append(f"{name} {format_duration(found[name])} > {limit}")
    if slot and distribution:
        found["ks_d"] = distance(values, geometric(interval, slot), slot)
        found["ks_p"] = kolmogorov(found["ks_d"], len(values))
        found["ks_significance"] = config.significance
        if found["ks_p"] < config.significance:
            wrong.append(f"intervals are not those of the lottery (Kolmogorov-Smirnov p = {found['ks_p']:.2g})")
    return found, wrong


def _slot(ctx: Context) -> float:
    """The slots of the chain's lottery (seconds), 0 where it is none."""
    timing = ctx.network.timing or ctx.chain.timing
    return timing.slot


def _made(block: _Timed, ahead: Mapping[str, float]) -> float:
    """The moment that the block gives itself, on the controller's monotonic clock."""
    return block.at - (block.wall - block.time) - ahead.get(block.proposer, 0.0)
