"""The expectation `recovery`."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

from pydantic import Field

from harness.api import (
    BlockSeen,
    Config,
    Context,
    Expectation,
    FaultRecord,
    Judgement,
    Span,
    Verdict,
    Violation,
    format_duration,
)
from harness_checks.power import power_of
from harness_checks.stretches import Stretch, common, joined
from harness_checks.subjects import should_be_up
from harness_checks.trace import Trace


class RecoveryConfig(Config):
    """Options of `recovery`."""

    answer_within: Span = Field(Span(20, "blocks"), description="how long a node may take to answer again")
    catch_up_within: Span = Field(Span(30, "blocks"), description="how long a node may take to keep up again")
    first_block_within: Span = Field(Span(16, "blocks"), description="how long the network may take to make a block")
    lag: Span = Field(Span(5, "blocks"), description="how far behind the highest a node still keeps up")


class Recovery(Expectation[RecoveryConfig]):
    """After each fault was healed, its nodes answered, caught up, and the network made a block, each in time.

    All times count from the healing. Answer: until the feed had a connection and had read what was there; it tries at
    least once a second. Catching up: until the node showed a block within `lag` of the highest. First block: until any
    node showed a new greatest height; while more power is down than the chain tolerates nothing is asked, and time
    counts from when that ended. A node whose next fault came before its time was up is judged by that one.
    Unknown when there was no fault to recover from, and where what took too long was not observed all along."""

    name = "recovery"
    sees_violations = False
    Config = RecoveryConfig

    def __init__(self, config: RecoveryConfig) -> None:
        super().__init__(config)
        self._traces: dict[str, Trace] = {}
        self._healings: dict[str, int] = {}
        self._rises: list[float] = []  # when the network first rose after some healing
        self._top = -1

    async def capture(self, ctx: Context) -> None:
        self._top = ctx.feed.highest

    def observe_block(self, ctx: Context, seen: BlockSeen) -> Violation | None:
        height = seen.header.height
        trace = self._traces.get(seen.node)
        if trace is None:
            notable = self.config.catch_up_within.seconds(ctx.block_interval)
            trace = self._traces[seen.node] = Trace(seen.at, -1, notable)
        healings = sum(end is not None for _, end in ctx.faults.disturbed(seen.node))
        if healings > self._healings.get(seen.node, 0):
            self._healings[seen.node] = healings
            trace.interrupt()
        lag = math.ceil(self.config.lag.seconds(ctx.block_interval) / ctx.block_interval)
        trace.saw(seen.at, height, height >= ctx.feed.highest - lag, seen.at)
        if height > self._top:
            self._top = height
            self._rises.append(seen.at)
        return None

    async def evaluate(self, ctx: Context) -> Judgement:
        config, interval = self.config, ctx.block_interval
        asked = (
            f"answer ≤ {config.answer_within}, caught up ≤ {config.catch_up_within}, "
            f"first block ≤ {config.first_block_within}"
        )
        judged, left_out = should_be_up(ctx)
        names = {node.name for node in judged}
        healed = [record for record in ctx.faults.history if record.healed_at is not None]
        if not healed:
            return Judgement(Verdict.UNKNOWN, "no fault was healed: nothing to recover from", asked)
        longest = max(
            s.seconds(interval) for s in (config.answer_within, config.catch_up_within, config.first_block_within)
        )
        for record in healed:
            left = (record.healed_at or 0.0) + longest - ctx.clock.now()
            await ctx.feed.wait(lambda one=record: self._over(ctx, one, names), max(0.0, left))  # type: ignore[misc]
        wrong: list[str] = []
        unsure: list[str] = []
        worst = dict.fromkeys(("answer", "caught up", "first block"), 0.0)
        faults: list[dict[str, Any]] = []
        for record in healed:
            entry: dict[str, Any] = {"id": record.id, "fault": record.fault, "healed_at": record.healed_at, "nodes": {}}
            for what, who, since, took, limit, blind in self._times(ctx, record, names):
                target = entry["nodes"].setdefault(who, {}) if who else entry
                target[f"{what.replace(' ', '_')}_seconds"] = None if took is None else round(took, 2)
                until = self._until(ctx, who, since)
                if took is not None and since + took > until:
                    took = None
                if took is not None:
                    worst[what] = max(worst[what], took)
                if took is None and until - since < limit:
                    continue  # the next fault came first, and is judged instead
                if took is None or took > limit:
                    end = until if took is None else since + took
                    seen = sum(part.seconds for part in Stretch(since, end).without(blind))
                    how = "never" if took is None else f"only after {format_duration(took)}"
                    text = f"{who or 'network'}: {what} {how} ({record.fault} {record.id})"
                    (wrong if seen > limit else unsure).append(text)
            faults.append(entry)
        evidence = {"faults": faults, "left_out": left_out, "wrong": wrong, "unsure": unsure}
        if wrong:
            more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            return Judgement(Verdict.FAIL, f"{wrong[0]}{more}", asked, evidence)
        if unsure:
            return Judgement(Verdict.UNKNOWN, f"{unsure[0]}, not observed all along", asked, evidence)
        figures = ", ".join(f"{what} ≤ {format_duration(took)}" for what, took in worst.items())
        return Judgement(Verdict.PASS, f"{len(healed)} faults: {figures}", asked, evidence)

    def _over(self, ctx: Context, record: FaultRecord, names: set[str]) -> bool:
        return all(took is not None for _, _, _, took, _, _ in self._times(ctx, record, names))

    def _times(
        self, ctx: Context, record: FaultRecord, names: set[str]
    ) -> list[tuple[str, str, float, float | None, float, list[Stretch]]]:
        """What was to come, of which node ("" for the network), from when on, how long it took, its limit, and when
        nothing could be seen."""
        assert record.healed_at is not None
        config, interval, healed = self.config, ctx.block_interval, record.healed_at
        result: list[tuple[str, str, float, float | None, float, list[Stretch]]] = []
        for name in record.targets:
            if name not in names:
                continue
            answer, limit = _answered(ctx, name, healed), config.answer_within.seconds(interval)
            result.append(("answer", name, healed, answer, limit, []))
            trace, limit = self._traces.get(name), config.catch_up_within.seconds(interval)
            caught = trace.recovery(healed) if trace is not None else None
            result.append(("caught up", name, healed, caught, limit, []))
        since = healed
        for short in power_of(ctx).short(ctx.chain.tolerance):
            if short.start <= since < short.end:
                since = short.end
        if since < math.inf:
            first = next((at - since for at in self._rises if at > since), None)
            unseen = [joined(Stretch(*span) for span in ctx.feed.unobserved(name)) for name in ctx.feed.nodes]
            blind: list[Stretch] = reduce(common, unseen) if unseen else []
            limit = config.first_block_within.seconds(interval)
            result.append(("first block", "", since, first, limit, blind))
        return result

    def _until(self, ctx: Context, who: str, since: float) -> float:
        """Until when what began then is judged: the node's next fault, or now."""
        later = [start for start, _ in ctx.faults.disturbed(who) if start > since] if who else []
        return min(later, default=ctx.clock.now())


def _answered(ctx: Context, name: str, healed: float) -> float | None:
    """Seconds from the healing until the node was seen again; 0 if it was in sight then."""
    view = ctx.feed.nodes.get(name)
    if view is None or view.last_seen_at is None:
        return None
    for span in joined(Stretch(*span) for span in ctx.feed.unobserved(name)):
        if span.start <= healed < span.end:
            still = not view.connected and span.end >= ctx.clock.now()
            return None if still else span.end - healed
    return 0.0
