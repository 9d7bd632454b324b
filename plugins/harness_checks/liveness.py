"""The expectation `consensus-liveness`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pydantic import Field

from harness.api import (
    BlockSeen,
    Config,
    Context,
    Duration,
    Expectation,
    Judgement,
    Node,
    Span,
    Verdict,
    Violation,
    format_duration,
)
from harness_checks.power import Power, down, power_of
from harness_checks.stretches import Stretch, common, joined
from harness_checks.subjects import held_up, should_be_up
from harness_checks.trace import MOMENT, Trace, observed

CHANCE = 1e-4
"""A shortfall of blocks that a healthy lottery shows more often than this is not held against the network."""
FEWEST = 3
"""Fewer promised blocks than this prove nothing."""


class LivenessConfig(Config):
    """Options of `consensus-liveness`."""

    min_fraction: float = Field(0.5, ge=0, le=1, description="share of the promised blocks that every node must have")
    max_lag: Span = Field(Span(5, "blocks"), description="how far behind the highest a node may end")
    max_stall: Span = Field(Span(16, "blocks"), description="how long a node's chain may stand still")
    recovery_timeout: Duration = Field(
        60.0, description="how long a node may take from the healing of a fault to keeping up with the highest again"
    )


@dataclass(slots=True)
class _Finding:
    """What was measured of one node, and what of it is wrong."""

    node: str
    made: int = 0
    lag: int = 0
    stall: float = 0.0
    recoveries: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    unsure: list[str] = field(default_factory=list)

    def evidence(self) -> dict[str, Any]:
        return {
            "made": self.made,
            "lag": self.lag,
            "longest_stall_seconds": round(self.stall, 2),
            "recovery_seconds": [round(seconds, 2) for seconds in self.recoveries],
            "wrong": self.wrong + self.unsure,
        }


class ConsensusLiveness(Expectation[LivenessConfig]):
    """Every node that should be up made blocks, ended near the highest, and neither it nor the network stood still.

    Made: by how many blocks its best chain advanced, up to the highest block there was at the end of the drive,
    against what the protocol promises for that time and the share of the voting power that was up in it. A
    shortfall that a lottery shows by chance (Poisson, more often than once in 10,000 runs) gives `unknown`, as does
    a time too short to promise anything, and one in which the harness itself was held up for more than a tenth.
    Lag: blocks behind the highest, when judged; a node gets as long as the lag itself takes to close it.
    Stall: the longest time in which it reached no new height. 16 blocks is what a lottery exceeds by chance once
    in nine million blocks (exp(-16)); with less power up it takes longer in proportion. Time in which a node could
    not be seen (the harness was held up, or had no connection) is no stall where blocks say that they were made
    in it, and otherwise gives `unknown`: as does a stall that is too long only with the time in which the harness
    was held up.
    A node disturbed by a fault is not excused: from healing on it must keep up with the highest within
    `recovery_timeout`, and blocks and lag are asked of it as of any other; only the time from injection to
    recovery is judged by the recovery instead. It excuses that node, never that nobody makes blocks: the network
    itself may stand still only while as much power is down as the chain does not tolerate, and until
    `recovery_timeout` after that. A node still under a fault at the end is not judged.
    A node whose API never answered fails; when no node's did, nothing is known."""

    name = "consensus-liveness"
    Config = LivenessConfig

    def __init__(self, config: LivenessConfig) -> None:
        super().__init__(config)
        self._traces: dict[str, Trace] = {}
        self._base: dict[str, int] = {}
        self._joined: dict[str, float] = {}  # late node → when its first block was seen (Unix seconds)
        self._healings: dict[str, int] = {}
        self._top = 0  # the highest block of the drive
        self._lag = 0
        self._stall = 0.0
        self._network = Trace(0.0, 0, math.inf)
        self._power = Power({}, {})
        self._beyond: list[Stretch] = []

    async def capture(self, ctx: Context) -> None:
        self._lag = math.ceil(self.config.max_lag.seconds(ctx.block_interval) / ctx.block_interval)
        self._stall = self.config.max_stall.seconds(ctx.block_interval)
        self._top = max(0, ctx.feed.highest)
        self._network = Trace(ctx.clock.now(), self._top, self._notable)
        for name, view in ctx.feed.nodes.items():
            self._begin(name, view.height if view.height >= 0 else self._top, ctx.clock.now())

    def observe_block(self, ctx: Context, seen: BlockSeen) -> Violation | None:
        highest, height = ctx.feed.highest, seen.header.height
        if seen.node not in self._traces:
            self._begin(seen.node, self._top, seen.at)
            if ctx.nodes[seen.node].spec.late:
                self._joined[seen.node] = seen.wall
        if not ctx.quiet:
            self._top = max(self._top, highest)
        trace = self._traces[seen.node]
        healings = sum(end is not None for _, end in ctx.faults.disturbed(seen.node))
        if healings > self._healings.get(seen.node, 0):
            self._healings[seen.node] = healings
            trace.interrupt()  # so that recovery lasts until this block at least, however short the fault was
        made = seen.at - (seen.wall - seen.header.time)
        trace.saw(seen.at, height, height >= highest - self._lag, made)
        self._network.saw(seen.at, height, True, made)
        return None

    async def watch(self, ctx: Context) -> Violation | None:
        """A stall that is too long already, of the network or of a node."""
        if self._stalled(ctx) is None:
            return None
        await ctx.clock.sleep(MOMENT)  # a harness that was held up itself sees first what has come meanwhile
        return self._stalled(ctx)

    def _stalled(self, ctx: Context) -> Violation | None:
        self._power = power_of(ctx)
        self._beyond = self._beyond_tolerance(ctx)
        network = _Finding("network")
        self._judge_stalls(ctx, network, self._network, self._beyond, self._network_blind(ctx))
        findings = [network]
        for node in should_be_up(ctx)[0]:
            if (trace := self._traces.get(node.name)) is not None:
                findings.append(found := _Finding(node.name))
                blind = [Stretch(*span) for span in ctx.feed.unobserved(node.name)]
                excused = [*self._beyond, *self._disturbed(ctx, node.name, trace)]
                self._judge_stalls(ctx, found, trace, excused, blind)
        wrong = [found for found in findings if found.wrong]
        if not wrong:
            return None
        evidence = {found.node: found.evidence() for found in wrong}
        return Violation(f"{wrong[0].node}: {wrong[0].wrong[0]}", evidence)

    def _begin(self, name: str, height: int, at: float) -> None:
        """A node that has shown nothing so far begins at the highest block: the past that it reads, it did not make."""
        self._base[name] = height
        self._traces[name] = Trace(at, height, self._notable)

    @property
    def _notable(self) -> float:
        """Seconds; shorter stalls are not told apart."""
        return self._stall / 4

    async def evaluate(self, ctx: Context) -> Judgement:
        window, config = ctx.window, self.config
        assert window.end is not None and window.end_wall is not None, "evaluated before the end of the drive"
        drive, self._power = Stretch(window.start, window.end), power_of(ctx)
        power_up = self._power.share(drive)
        promised = power_up * ctx.network.promised_blocks(window.start_wall, window.end_wall)
        allowed = (
            f"lag ≤ {config.max_lag}, stall ≤ {config.max_stall}, recovery ≤ {format_duration(config.recovery_timeout)}"
        )
        asked = f"≥ {config.min_fraction:.0%} of {promised:.0f} promised blocks, {allowed}"
        judged, left_out = should_be_up(ctx)
        if not any(view.last_seen_at is not None for view in ctx.feed.nodes.values()):
            return Judgement(Verdict.UNKNOWN, "no node ever answered the block feed", asked, _errors(ctx))
        if not judged:
            return Judgement(Verdict.UNKNOWN, "no node was up to be judged", asked, {"left_out": left_out})
        highest = ctx.feed.highest
        await self._grant_time(ctx, judged, highest)
        self._beyond = self._beyond_tolerance(ctx)
        nodes = [self._find(ctx, node.name, self._promised(ctx, node.name, power_up), highest) for node in judged]
        network = _Finding("network")
        self._judge_stalls(ctx, network, self._network, self._beyond, self._network_blind(ctx))
        findings = [*nodes, network]
        evidence = {
            "promised": round(promised, 1),
            "power_up": round(power_up, 3),
            "window_seconds": round(window.end - window.start, 1),
            "highest": highest,
            "network_longest_stall_seconds": round(network.stall, 2),
            "nodes": {finding.node: finding.evidence() for finding in nodes},
            "left_out": left_out,
        }
        wrong = [f"{finding.node}: {what}" for finding in findings for what in finding.wrong]
        if wrong:
            more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            return Judgement(Verdict.FAIL, f"{wrong[0]}{more}", asked, evidence)
        if promised < FEWEST:
            why = "was too short" if power_up > 0.5 else "had too much power down"
            return Judgement(Verdict.UNKNOWN, f"the drive {why} to promise blocks", asked, evidence)
        unsure = [f"{finding.node}: {what}" for finding in findings for what in finding.unsure]
        if unsure:
            return Judgement(Verdict.UNKNOWN, unsure[0], asked, evidence)
        return Judgement(Verdict.PASS, self._summary(nodes), asked, evidence)

    def _promised(self, ctx: Context, name: str, power_up: float) -> float:
        """How many blocks a node was to see: of a late one, since it has joined."""
        window = ctx.window
        assert window.end_wall is not None
        since = max(window.start_wall, self._joined.get(name, window.start_wall))
        return power_up * ctx.network.promised_blocks(since, window.end_wall) if since < window.end_wall else 0.0

    async def _grant_time(self, ctx: Context, judged: Sequence[Node], highest: int) -> None:
        """Wait for nodes that are behind: undisturbed ones as long as the allowed lag takes, the others until their
        time to recover is over. At once where nobody is."""
        calm = [node.name for node in judged if not ctx.faults.disturbed(node.name)]
        await ctx.feed.wait_height(highest - self._lag, nodes=calm, timeout=self._lag * ctx.block_interval)
        for node in judged:
            healed = max((end for _, end in ctx.faults.disturbed(node.name) if end is not None), default=None)
            trace = self._traces.get(node.name)
            if healed is not None and trace is not None:
                left = healed + self.config.recovery_timeout - ctx.clock.now()
                await ctx.feed.wait(partial(_recovered, trace, healed), max(0.0, left))

    def _find(self, ctx: Context, name: str, promised: float, highest: int) -> _Finding:
        found, trace, view = _Finding(name), self._traces.get(name), ctx.feed.nodes.get(name)
        if trace is None or view is None or view.last_seen_at is None:
            error = f": {view.error}" if view is not None and view.error else ""
            found.wrong.append(f"its API never answered{error}")
            return found
        found.made = max(0, min(view.height, self._top) - self._base[name])
        found.lag = max(0, highest - view.height)
        self._judge_blocks(ctx, found, promised)
        if found.lag > self._lag:
            found.wrong.append(f"ended {found.lag} blocks behind the highest ({view.height} of {highest})")
        blind = [Stretch(*span) for span in ctx.feed.unobserved(name)]
        self._judge_recoveries(ctx, found, trace, blind)
        self._judge_stalls(ctx, found, trace, [*self._beyond, *self._disturbed(ctx, name, trace)], blind)
        return found

    def _judge_blocks(self, ctx: Context, found: _Finding, promised: float) -> None:
        if found.made >= self.config.min_fraction * promised:
            return
        what = f"made {found.made} of {promised:.0f} promised blocks"
        chance = poisson_at_most(found.made, promised)
        window = ctx.window
        assert window.end is not None and window.end_wall is not None
        jump = (window.end_wall - window.start_wall) - (window.end - window.start)
        if abs(jump) > self._notable:
            found.unsure.append(f"{what}, but the controller's clock jumped by {format_duration(abs(jump))}")
        elif chance < CHANCE and (doubt := held_up(ctx)):
            found.unsure.append(f"{what}, but {doubt}")
        elif chance < CHANCE:
            found.wrong.append(what)
        else:
            found.unsure.append(f"{what}, which may be chance ({chance:.1g}): drive for longer")

    def _judge_recoveries(self, ctx: Context, found: _Finding, trace: Trace, blind: Sequence[Stretch]) -> None:
        faults = sorted(ctx.faults.disturbed(found.node), key=lambda fault: fault[0])
        for number, (_, healed) in enumerate(faults, start=1):
            if healed is None:
                continue
            recovery = trace.recovery(healed)
            until = faults[number][0] if number < len(faults) else ctx.clock.now()
            if recovery is not None and healed + recovery <= until:
                found.recoveries.append(recovery)
            elif until - healed < self.config.recovery_timeout:
                continue  # the next fault came before it had to be back: judged by that one
            if recovery is None or recovery > self.config.recovery_timeout:
                took = "did not keep up again" if recovery is None else f"took {format_duration(recovery)} to keep up"
                out = Stretch(healed, until if recovery is None else healed + recovery)
                seen = sum(part.seconds for part in out.without(blind))
                doubt = seen <= self.config.recovery_timeout
                what = f"{took} after its fault was healed"
                (found.unsure if doubt else found.wrong).append(f"{what}, not observed all along" if doubt else what)

    def _judge_stalls(
        self, ctx: Context, found: _Finding, trace: Trace, excused: Sequence[Stretch], blind: Sequence[Stretch]
    ) -> None:
        end = ctx.window.end
        drive = Stretch(ctx.window.start, ctx.clock.now() if end is None else end)
        wrong: list[float] = []
        unsure: list[float] = []
        for gap in trace.gaps(ctx.clock.now()):
            for part in observed(gap, blind).within(drive).without(excused):
                found.stall = max(found.stall, part.seconds)
                if part.seconds > self._allowed(part):
                    seen = sum(one.seconds for one in part.without(Stretch(*span) for span in ctx.feed.held_up))
                    (wrong if seen > self._allowed(part) else unsure).append(part.seconds)
            for part in gap.within(drive).without(excused):
                if not trace.went_on(part, self._allowed(part)):
                    unsure.append(part.seconds)
        if wrong:
            found.wrong.append(f"stood still for {format_duration(max(wrong))}")
        elif unsure:
            found.unsure.append(f"may have stood still for {format_duration(max(unsure))}, not observed all along")

    def _allowed(self, part: Stretch) -> float:
        """Seconds that a stall may last at this time."""
        share = self._power.share(part)
        return self._stall / share if share > 0 else math.inf

    def _disturbed(self, ctx: Context, name: str, trace: Trace) -> list[Stretch]:
        """From each injection to the recovery, in which what the node does is judged by the recovery."""
        result = []
        for injected, healed in ctx.faults.disturbed(name):
            if healed is None:
                result.append(Stretch(injected, math.inf))
                continue
            recovery = trace.recovery(healed)
            limit = self.config.recovery_timeout
            result.append(Stretch(injected, healed + (limit if recovery is None else min(limit, recovery))))
        return result

    def _beyond_tolerance(self, ctx: Context) -> list[Stretch]:
        """When the chain promised nothing, and the time to recover from that."""
        limit = self.config.recovery_timeout
        return [Stretch(short.start, short.end + limit) for short in self._power.short(ctx.chain.tolerance)]

    def _network_blind(self, ctx: Context) -> list[Stretch]:
        """When no node could be seen that was not down: those alone tell what the network does."""
        spots = [Stretch(-math.inf, math.inf)]
        for name in ctx.feed.nodes:
            unseen = [Stretch(*span) for span in ctx.feed.unobserved(name)]
            spots = common(spots, joined([*unseen, *down(ctx, name)], MOMENT))
        return spots

    def _summary(self, findings: Sequence[_Finding]) -> str:
        made = [finding.made for finding in findings]
        blocks = f"{made[0]}" if min(made) == max(made) else f"{min(made)}–{max(made)}"
        parts = [
            f"{blocks} blocks on {len(findings)} nodes",
            f"lag ≤ {max(finding.lag for finding in findings)}",
            f"stall ≤ {format_duration(max(self._notable, *(finding.stall for finding in findings)))}",
        ]
        recoveries = [seconds for finding in findings for seconds in finding.recoveries]
        if recoveries:
            parts.append(f"{len(recoveries)} recoveries ≤ {format_duration(max(recoveries))}")
        return ", ".join(parts)


def _recovered(trace: Trace, healed: float) -> bool:
    return trace.recovery(healed) is not None


def poisson_at_most(count: int, mean: float) -> float:
    """The chance that a Poisson variable of this mean is at most `count`."""
    if mean <= 0:
        return 1.0
    return min(1.0, sum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(count + 1)))


def _errors(ctx: Context) -> dict[str, Any]:
    return {"nodes": {name: view.error for name, view in ctx.feed.nodes.items()}}
