"""The expectation `recovery`."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
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
from harness_checks.trace import MOMENT, Trace

RISES = 1000
"""New heights, the newest, among which the first after a healing is looked for."""


class RecoveryConfig(Config):
    """Options of `recovery`."""

    answer_within: Span = Field(Span(30.0), description="how long a node may take to answer again")
    catch_up_within: Span = Field(Span(60.0), description="how long a node may take to keep up again")
    first_block_within: Span = Field(Span(16, "blocks"), description="how long the network may take to make a block")
    lag: Span = Field(Span(5, "blocks"), description="how far behind the highest a node still keeps up")


@dataclass(slots=True)
class _Findings:
    """What took too long, what may have, the longest times by what was to come, and the evidence of each fault."""

    wrong: list[str] = field(default_factory=list)
    unsure: list[str] = field(default_factory=list)
    worst: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("answer", "caught up", "first block"), 0.0))
    faults: list[dict[str, Any]] = field(default_factory=list)


class Recovery(Expectation[RecoveryConfig]):
    """After each fault was healed, its nodes answered, caught up, and the network made a block, each in time.

    All times count from the healing. Answer: until the feed had a connection and had read what was there; it tries at
    least once a second. Catching up: until the node showed a block within `lag` of the highest. First block: until any
    node showed a new greatest height; while more power is down than the chain tolerates nothing is asked, and time
    counts from when that ended. A node whose next fault came before its time was up is judged by that one.
    Unknown when there was no fault to recover from, and where what took too long was not observed all along: the
    harness itself was held up, or for the first block, no node could be seen.
    While the run goes on, where it is `continuous`: it is violated once something takes too long."""

    name = "recovery"
    Config = RecoveryConfig

    def __init__(self, config: RecoveryConfig) -> None:
        super().__init__(config)
        self._traces: dict[str, Trace] = {}
        self._healings: dict[str, int] = {}
        self._top = -1
        self._rises: deque[float] = deque(maxlen=RISES)  # when the network was last seen to reach a new height
        self._first: dict[float, float] = {}  # a moment of healing → the first rise after it

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
            self._note_first(ctx)
        return None

    def _note_first(self, ctx: Context) -> None:
        """Keep the first rise after each healing: what there is to remember grows with the faults, not with time."""
        for record in ctx.faults.history:
            healed = record.healed_at
            if healed is not None and healed not in self._first and self._rises and self._rises[-1] > healed:
                self._first[healed] = next(at for at in self._rises if at > healed)

    async def watch(self, ctx: Context) -> Violation | None:
        """What has taken too long already."""
        if not self._weigh(ctx).wrong:
            return None
        await ctx.clock.sleep(MOMENT)  # a harness that was held up itself sees first what has come meanwhile
        now = self._weigh(ctx)
        return Violation(now.wrong[0], {"wrong": now.wrong}) if now.wrong else None

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
        now = self._weigh(ctx)
        evidence = {"faults": now.faults, "left_out": left_out, "wrong": now.wrong, "unsure": now.unsure}
        if now.wrong:
            more = f" (and {len(now.wrong) - 1} more)" if len(now.wrong) > 1 else ""
            return Judgement(Verdict.FAIL, f"{now.wrong[0]}{more}", asked, evidence)
        if now.unsure:
            return Judgement(Verdict.UNKNOWN, f"{now.unsure[0]}, not observed all along", asked, evidence)
        figures = ", ".join(f"{what} ≤ {format_duration(took)}" for what, took in now.worst.items())
        return Judgement(Verdict.PASS, f"{len(healed)} faults: {figures}", asked, evidence)

    def _weigh(self, ctx: Context) -> _Findings:
        """What is known now of all faults that were healed."""
        names = {node.name for node in should_be_up(ctx)[0]}
        found = _Findings()
        for record in ctx.faults.history:
            if record.healed_at is None:
                continue
            entry: dict[str, Any] = {"id": record.id, "fault": record.fault, "healed_at": record.healed_at, "nodes": {}}
            for what, who, since, took, limit, blind in self._times(ctx, record, names):
                target = entry["nodes"].setdefault(who, {}) if who else entry
                target[f"{what.replace(' ', '_')}_seconds"] = None if took is None else round(took, 2)
                until = self._until(ctx, who, since)
                if took is not None and since + took > until:
                    took = None
                if took is not None:
                    found.worst[what] = max(found.worst[what], took)
                if took is None and until - since < limit:
                    continue  # the next fault came first, and is judged instead
                if took is None or took > limit:
                    end = until if took is None else since + took
                    seen = sum(part.seconds for part in Stretch(since, end).without(blind))
                    how = "never" if took is None else f"only after {format_duration(took)}"
                    text = f"{who or 'network'}: {what} {how} ({record.fault} {record.id})"
                    (found.wrong if seen >= limit else found.unsure).append(text)
            found.faults.append(entry)
        return found

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
        held_up = [Stretch(*span) for span in ctx.feed.held_up]
        for name in record.targets:
            if name not in names or _is_away(ctx, name, healed):
                continue
            answer, limit = _answered(ctx, name, healed), config.answer_within.seconds(interval)
            result.append(("answer", name, healed, answer, limit, held_up))
            trace, limit = self._traces.get(name), config.catch_up_within.seconds(interval)
            caught = trace.recovery(healed) if trace is not None else None
            result.append(("caught up", name, healed, caught, limit, held_up))
        since = healed
        for short in power_of(ctx).short(ctx.chain.tolerance):
            if short.start <= since < short.end:
                since = short.end
        if since < math.inf:
            self._note_first(ctx)
            first = self._first[since] - since if since in self._first else None  # stretches end by healings
            unseen = [joined(Stretch(*span) for span in ctx.feed.unobserved(name)) for name in ctx.feed.nodes]
            blind: list[Stretch] = reduce(common, unseen) if unseen else []
            limit = config.first_block_within.seconds(interval)
            result.append(("first block", "", since, first, limit, blind))
        return result

    def _until(self, ctx: Context, who: str, since: float) -> float:
        """Until when what began then is judged: the node's next fault, or now."""
        later = [start for start, _ in ctx.faults.disturbed(who) if start > since] if who else []
        return min(later, default=ctx.clock.now())


def _is_away(ctx: Context, name: str, moment: float) -> bool:
    """Whether a fault keeps the node down beyond this moment, whose own healing is judged: also one that has left."""
    return any(
        name in record.downs
        and record.injected_at <= moment
        and (record.healed_at is None or record.healed_at > moment)
        for record in ctx.faults.history
        if record.injected_at is not None
    )


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
