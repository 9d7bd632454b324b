"""The fault `bandwidth`: no more than so many bytes a second pass."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import Field

from harness.api import PLAIN, Fault, FaultContext, Flow, Link, LinkShape, MachineCapability, Proof, Size
from harness_nemesis.grudge import Powers
from harness_nemesis.looking import Look, both_ways, comparable, flows_of, live_nodes, look, muddled, only_cut
from harness_nemesis.shaping import LinkConfig, LinkFault

TAKES = 1.5
"""Seconds for which bytes are sent each way, at the rate that is asked for."""
MOST_BYTES = 32 << 20
"""That are sent over one link at most, each way."""
LINKS = 3
"""Links at most that are measured."""
TOLERANCE = 0.25
"""Share by which what is measured may exceed the rate: a bucket that is full at first holds a tenth of a second."""
SLOW = 0.5
"""Share of the rate below which something else slows the link down: nodes, which share the rate, or a busy machine."""
FASTER = 2.0
"""Times the rate that must have passed before, for less to be this fault's doing."""
BESIDE = 15.0
"""Seconds that a measurement may take beyond what the bytes need."""


class BandwidthConfig(LinkConfig):
    """`rate`: bytes a second, each way of each link."""

    rate: Size = Field(gt=0)


@dataclass(frozen=True, slots=True)
class _Way:
    """Bytes a second that passed one way of a link. `was_fast`: many more did before, and others would let them still.
    `is_alike`: others do to it what they did before."""

    rate: float
    was_fast: bool
    is_alike: bool


class Bandwidth(LinkFault[BandwidthConfig]):
    """No more than `rate` bytes a second pass, each way of each link of the targets.

    Proven by sending: programs of ours on the nodes' machines send one another, by the way of up to three of the links,
    what takes a second and a half at this rate, each way. Where at least twice the rate passed before, half the rate
    to a quarter more than it proves it, and more disproves it; less is others' doing, and tells nothing. It is gone
    when more than a quarter above the rate passes. Where other faults delay these links otherwise than before, less
    tells nothing."""

    name = "bandwidth"
    Config = BandwidthConfig

    def __init__(self, config: BandwidthConfig) -> None:
        super().__init__(config)
        self._measured: tuple[Link, ...] | None = None

    def requires_machine(self) -> frozenset[MachineCapability]:
        return frozenset({MachineCapability.LINK_RATE})

    def wanted(self, targets: Sequence[str], powers: Powers, links: Sequence[Link]) -> Mapping[Flow, LinkShape]:
        return dict.fromkeys(flows_of(targets, links), LinkShape(rate=self.config.rate))

    def hidden(
        self,
        targets: Sequence[str],
        powers: Powers,
        links: Sequence[Link],
        held: Iterable[tuple[Fault[Any], Sequence[str]]],
    ) -> str:
        least = FASTER * self.config.rate
        slow = [(other, whom) for other, whom in held if isinstance(other, Bandwidth) and other.config.rate < least]
        theirs = {flow for other, whom in slow for flow in other.wanted(whom, powers, links)}
        if not theirs or not self.wanted(targets, powers, links).keys() <= theirs:
            return ""
        slowest = min(other.config.rate for other, _ in slow)
        return f"it could not be proven: on all of its links one of {slowest:,} bytes a second holds, and hides it"

    def judge(self, ctx: FaultContext, before: Look, now: Look) -> Proof:
        ways = list(self._told(before, now))
        fast = [way for way in ways if way.rate > self._limit]
        held = [way for way in ways if way.was_fast and SLOW * self.config.rate <= way.rate <= self._limit]
        return Proof(False if fast else True if held else None, self._seen(before, now))

    def judge_healed(self, before: Look, now: Look) -> Proof:
        ways = list(self._told(before, now))
        fast = [way for way in ways if way.rate > self._limit]
        slow = [way for way in ways if way.was_fast and way.rate <= self._limit and way.is_alike]
        return Proof(not slow if slow or fast else None, self._seen(before, now))

    @property
    def _limit(self) -> float:
        return (1 + TOLERANCE) * self.config.rate

    def _told(self, before: Look, now: Look) -> Iterator[_Way]:
        """What now tells of each way that could be measured, and that no other fault makes slower than this one."""
        for link in comparable(before, now, but=only_cut):
            alike = not muddled(before, now, link, lambda shape: shape)
            for flow, then, rate in zip(both_ways(link), _ways(before, link), _ways(now, link), strict=True):
                if rate is not None and self._is_slowest(now.others, flow):
                    theirs = [one.others.get(flow, PLAIN).rate for one in (before, now)]
                    was_fast = then is not None and then >= FASTER * self.config.rate
                    yield _Way(rate, was_fast and theirs[1] >= min(theirs[0], FASTER * self.config.rate), alike)

    def _is_slowest(self, others: Mapping[Flow, LinkShape], flow: Flow) -> bool:
        """Whether no other fault lets less of it pass: that would take longer than it tells anything."""
        return self.config.rate <= others.get(flow, PLAIN).rate

    def _seen(self, before: Look, now: Look) -> dict[str, object]:
        ways = {flow: (link, way) for link in now.passed for way, flow in enumerate(both_ways(link))}
        return {
            "bytes a second asked": self.config.rate,
            "bytes a second measured": {
                f"{flow.src} → {flow.dst}": {
                    "before": _shown(_ways(before, link)[way]),
                    "now": _shown(_ways(now, link)[way], now.passed[link].error),
                }
                for flow, (link, way) in ways.items()
            },
        }

    async def _look(self, ctx: FaultContext, links: Iterable[Link]) -> Look:
        chosen = tuple(links)
        if self._measured is None:
            self._measured = self._sample(ctx, chosen)
        size = max(1, min(MOST_BYTES, math.ceil(TAKES * self.config.rate)))
        # Dials first: who waited with them until the next one has measured would see what that one does to links.
        seen = await look(ctx, chosen, self.patience())
        told = [link for link in self._measured if any(self._is_slowest(seen.others, flow) for flow in both_ways(link))]
        measured = [link for link in told if {link.src, link.dst} <= {*seen.live}]
        passed = await ctx.throughput(measured, size, BESIDE + 4 * size / self.config.rate)
        after = ctx.shaped_by_others()
        unsteady = {f for f in {*seen.others, *after} if seen.others.get(f, PLAIN) != after.get(f, PLAIN)}
        live = {*seen.live} & live_nodes(ctx)
        return replace(seen, passed=passed, live=live, unsteady=unsteady | {*seen.unsteady})

    def _sample(self, ctx: FaultContext, links: Iterable[Link]) -> tuple[Link, ...]:
        """Some of those that it disturbs, no two of the same nodes: these have one rate together."""
        pairs = {frozenset((link.src, link.dst)): link for link in links if set(both_ways(link)) & self.shapes.keys()}
        return tuple(ctx.rng.sample(list(pairs.values()), min(LINKS, len(pairs))))


def _ways(look: Look, link: Link) -> tuple[float | None, float | None]:
    """Bytes a second, there and back."""
    passed = look.passed.get(link)
    return (passed.there, passed.back) if passed is not None else (None, None)


def _shown(rate: float | None, error: str = "") -> int | str:
    return error or "not measured" if rate is None else round(rate)
