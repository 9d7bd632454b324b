"""The expectation `block-timing`."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean
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
from harness_checks.arrivals import by_chance, deviation, distance, geometric, kolmogorov, percentile
from harness_checks.stretches import Stretch

KEPT = 200_000
"""Blocks, the newest, whose times are remembered."""


class BlockTimingConfig(Config):
    """Options of `block-timing`."""

    tolerance: float = Field(0.1, ge=0, le=10, description="how far the mean may be off, as a share of the promised")
    significance: float = Field(1e-4, gt=0, lt=0.5, description="how often chance alone may fail a test of a lottery")
    min_intervals: int = Field(30, ge=2, description="fewer undisturbed intervals than this tell nothing")
    after_fault: Span = Field(Span(20, "blocks"), description="how long after a healing intervals are not looked at")
    p50: Span | None = Field(None, description="the median interval may be no longer")
    p90: Span | None = Field(None, description="nine of ten intervals may be no longer")
    p99: Span | None = Field(None, description="99 of 100 intervals may be no longer")
    max: Span | None = Field(None, description="no interval may be longer")


@dataclass(frozen=True, slots=True)
class _Timed:
    """A block: its parent, its own time (Unix seconds), and when it was first seen (monotonic and Unix seconds)."""

    parent: str
    time: float
    at: float
    wall: float
    live: bool


class BlockTiming(Expectation[BlockTimingConfig]):
    """Blocks come at the pace that the chain promises: by the times in their headers, and by when the feed saw them.

    Mean: within `tolerance` of the promised interval, and for a slot lottery what chance adds at `significance`
    (normal approximation). Distribution, for a slot lottery only: Kolmogorov-Smirnov test of header intervals against
    the geometric (exponential, where there are no slots) one at `significance`. The chain says whether it is a lottery
    (`Timing.slot`). Percentiles are reported, and judged where limits are given.
    Intervals are those of the best chain in the drive, without stretches in which any node was disturbed, and
    `after_fault`. Header times are taken as they are: a slot's time is no clock's. Those of chains without slots are
    the proposers' clocks, whose offsets are not corrected: in a mean they cancel but for the first and the last.
    Arrivals are all by the controller's clock; only blocks seen live count.
    Unknown with fewer than `min_intervals`."""

    name = "block-timing"
    sees_violations = False
    Config = BlockTimingConfig

    def __init__(self, config: BlockTimingConfig) -> None:
        super().__init__(config)
        self._blocks: dict[str, _Timed] = {}

    def observe_block(self, ctx: Context, seen: BlockSeen) -> Violation | None:
        header = seen.header
        if header.hash not in self._blocks:
            self._blocks[header.hash] = _Timed(header.parent, header.time, seen.at, seen.wall, seen.live)
            if len(self._blocks) > KEPT:
                del self._blocks[next(iter(self._blocks))]
        return None

    async def evaluate(self, ctx: Context) -> Judgement:
        interval, slot = ctx.block_interval, _slot(ctx)
        asked = f"mean {format_duration(interval)} ± {self.config.tolerance:.0%}"
        asked += f", lottery of {format_duration(slot)} slots at {self.config.significance:g}" if slot else ""
        headers, arrivals, left_out = self._intervals(ctx)
        evidence: dict[str, Any] = {
            "promised_interval": interval,
            "disturbed_intervals_left_out": left_out,
            "clock_offsets": "header times are slots'" if slot else "header times are proposers', not corrected",
        }
        if len(headers) < self.config.min_intervals or len(arrivals) < self.config.min_intervals:
            fewest = min(len(headers), len(arrivals))
            return Judgement(Verdict.UNKNOWN, f"only {fewest} undisturbed intervals", asked, evidence)
        wrong: list[str] = []
        for what, values in (("header times", headers), ("arrivals", arrivals)):
            found, problems = judge(values, interval, slot, self.config, distribution=what == "header times")
            evidence[what.replace(" ", "_")] = found
            wrong += [f"{what}: {problem}" for problem in problems]
        if wrong:
            more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            return Judgement(Verdict.FAIL, f"{wrong[0]}{more}", asked, {**evidence, "wrong": wrong})
        measured = f"mean {format_duration(mean(headers))} of {len(headers)} intervals"
        if slot:
            measured += f", KS p = {evidence['header_times']['ks_p']:.2g}"
        return Judgement(Verdict.PASS, measured, asked, evidence)

    def _intervals(self, ctx: Context) -> tuple[list[float], list[float], int]:
        """By header times, by arrivals, and how many were left out as disturbed: walked down the best chain."""
        window, rest = ctx.window, self.config.after_fault.seconds(ctx.block_interval)
        end = ctx.clock.now() if window.end is None else window.end
        disturbed = [
            Stretch(record.injected_at, float("inf") if record.healed_at is None else record.healed_at + rest)
            for record in ctx.faults.history
            if record.injected_at is not None
        ]
        headers: list[float] = []
        arrivals: list[float] = []
        left_out = 0
        hash = max(ctx.feed.nodes.values(), key=lambda view: view.height).hash
        while (block := self._blocks.get(hash)) and (parent := self._blocks.get(block.parent)):
            hash = block.parent
            made = Stretch(_made(parent), _made(block))
            if made.start < window.start or made.end > end:
                continue
            if any(made.start < stretch.end and stretch.start < max(made.end, block.at) for stretch in disturbed):
                left_out += 1
                continue
            headers.append(block.time - parent.time)
            if block.live and parent.live:
                arrivals.append(block.at - parent.at)
        return headers, arrivals, left_out


def judge(
    values: list[float], interval: float, slot: float, config: BlockTimingConfig, *, distribution: bool
) -> tuple[dict[str, Any], list[str]]:
    """Figures of these intervals (seconds), and what is wrong with them. Pure."""
    measured, wrong = mean(values), []
    chance = by_chance(config.significance) * deviation(interval, slot) / len(values) ** 0.5 if slot else 0.0
    allowed = config.tolerance * interval + chance
    found: dict[str, Any] = {
        "intervals": len(values),
        "mean": round(measured, 4),
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


def _made(block: _Timed) -> float:
    """The moment that the block gives itself, on the controller's monotonic clock."""
    return block.at - (block.wall - block.time)
