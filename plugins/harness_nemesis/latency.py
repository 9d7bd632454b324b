"""The fault `latency`: traffic takes longer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from random import Random
from statistics import median

from pydantic import Field, model_validator

from harness.api import (
    PLAIN,
    Duration,
    FaultContext,
    Flow,
    Link,
    LinkShape,
    MachineCapability,
    PlanView,
    Proof,
    UsageError,
)
from harness_nemesis.grudge import Powers, members
from harness_nemesis.looking import (
    Look,
    both_ways,
    comparable,
    compared,
    flows_of,
    muddled,
    named,
    only_cut,
    undelayed,
)
from harness_nemesis.shaping import LinkConfig, LinkFault

LONGEST = 60.0
"""Seconds of delay that may be asked for."""
ENOUGH = 0.8
"""Share of the delay of both ways by which a round trip must rise: what was measured before held some noise, too."""
GONE = 0.5
"""Share of it that may be left of the rise after healing."""


class LatencyConfig(LinkConfig):
    """`delay` is one way: round trips take twice as long. `jitter`: each packet takes so much more or less, at most the
    delay. That is for all links of the targets, or, where there is a `matrix`, for those between zones: zone → zone →
    delay, one way; what is not written is as the way back, and undisturbed where that is not written either. `zones`:
    zone → node pattern; who is in none is undisturbed."""

    delay: Duration = Field(0.0, le=LONGEST)
    jitter: Duration = Field(0.0, le=LONGEST)
    matrix: dict[str, dict[str, Duration]] = Field(default_factory=dict)
    zones: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> LatencyConfig:
        delays = [delay for row in self.matrix.values() for delay in row.values()] if self.matrix else [self.delay]
        if self.matrix and self.delay:
            raise ValueError("delay is for all links of the targets, and matrix for those between zones: write one")
        if not any(delays) or max(delays) > LONGEST:
            raise ValueError(f"write a delay above 0s and up to {LONGEST:g}s, or a matrix of such delays")
        if self.jitter > min(filter(None, delays)):
            raise ValueError("jitter is more than the delay: no packet can arrive before it is sent")
        for zone in dict.fromkeys([*self.matrix, *(zone for row in self.matrix.values() for zone in row)]):
            if zone not in self.zones:
                raise ValueError(f'matrix: no zone is called "{zone}" (zones: {", ".join(self.zones) or "none"})')
        if self.zones and not self.matrix:
            raise ValueError("zones are for a matrix, and there is none")
        return self


class Latency(LinkFault[LatencyConfig]):
    """Packets take longer, in order still: on all links of the targets, or by zones, as in a wide area network.

    Proven by round trips over the links, five of each: their median rises by most of the delay of both ways, which is
    more than they differed by before. Disproved by one that came back sooner than the delay lets it. On a machine so
    busy that it is neither, it could not be told. What other faults delay the same links by is taken off. Where they
    began or ceased to limit the rate, or to lose packets, the rise must be the delay's and no more, and only a quick
    answer tells that it is gone."""

    name = "latency"
    Config = LatencyConfig

    def requires_machine(self) -> frozenset[MachineCapability]:
        return frozenset({MachineCapability.LINK_DELAY})

    def check(self, ctx: PlanView) -> Sequence[str]:
        try:
            zones(self.config.zones, ctx.node_names)
        except UsageError as error:
            return (str(error),)
        return ()

    def choose(self, free: Sequence[str], rng: Random) -> Sequence[str]:
        return tuple(free) if self.config.matrix else super().choose(free, rng)

    def wanted(self, targets: Sequence[str], powers: Powers, links: Sequence[Link]) -> Mapping[Flow, LinkShape]:
        zone_of = zones(self.config.zones, powers)
        found: dict[Flow, LinkShape] = {}
        for flow in flows_of(targets, links):
            delay = self._delay(zone_of.get(flow.src), zone_of.get(flow.dst))
            if delay:
                found[flow] = LinkShape(delay=delay, jitter=self.config.jitter)
        return found

    def whose(self, targets: Sequence[str]) -> Sequence[str]:
        """Of the targets' traffic that between zones of which the matrix says so."""
        pairs = [f"{a} to {b}" for a, row in self.config.matrix.items() for b, delay in row.items() if delay]
        return pairs or super().whose(targets)

    def _delay(self, src: str | None, dst: str | None) -> float:
        if not self.config.matrix:
            return self.config.delay
        if src is None or dst is None:
            return 0.0
        there, back = self.config.matrix.get(src, {}), self.config.matrix.get(dst, {})
        return there.get(dst, back.get(src, 0.0))

    def dials(self) -> int:
        return 5

    def patience(self) -> float:
        """A dial and its end are two round trips."""
        return super().patience() + 2 * max((self._both(link) for link in self._links()), default=0.0)

    def is_clear(self, before: Look) -> bool:
        asked = [link for link in before.seen if self._both(link) and before.round_trips(link)]
        return not asked or any(spread(before, link) < self._both(link) for link in asked)

    def judge(self, ctx: FaultContext, before: Look, now: Look) -> Proof:
        judged = [
            link for link in comparable(before, now, but=only_cut) if self._both(link) and now.openness(link) == 2
        ]
        rise = {link: _own(now, link) - _own(before, link) for link in judged}
        slower = [
            link
            for link, more in rise.items()
            if more >= ENOUGH * self._both(link)
            and spread(before, link) < self._both(link)
            and (not muddled(before, now, link, undelayed) or more <= (1 + GONE) * self._both(link))
        ]
        spared = [link for link in judged if link not in slower and self._is_too_quick(now, link)]
        seen = {
            **self._figures(rise),
            "not delayed": named(spared),
            "lost in the noise": named(link for link in judged if link not in slower and link not in spared),
            "round trips": compared(before, now),
        }
        return Proof(False if spared else True if slower else None, seen)

    def judge_healed(self, before: Look, now: Look) -> Proof:
        judged = [
            link for link in comparable(before, now, but=only_cut) if self._both(link) and before.openness(link) == 2
        ]
        rise = {link: _own(now, link) - _own(before, link) for link in judged}
        quick = [link for link in judged if self._is_too_quick(now, link)]
        alike = [link for link in judged if not muddled(before, now, link, undelayed)]
        slow = [link for link in alike if rise[link] > GONE * self._both(link) and link not in quick]
        seen = {
            **self._figures(rise),
            "still delayed": named(slow),
            "slower by others' doing, or still": named(link for link in judged if link not in (*alike, *quick)),
            "round trips": compared(before, now),
        }
        return Proof(not slow if alike or quick else None, seen)

    def _is_too_quick(self, now: Look, link: Link) -> bool:
        """Whether any dial came back sooner than it can with this delay, which no noise brings about."""
        jitters = 2 * self.config.jitter + sum(now.others.get(flow, PLAIN).jitter for flow in both_ways(link))
        least = min(now.round_trips(link), default=math.inf) - now.delayed(link)
        return least < ENOUGH * self._both(link) - jitters

    def _figures(self, rise: Mapping[Link, float]) -> dict[str, object]:
        """Medians over links, in milliseconds."""
        if not (known := {link: more for link, more in rise.items() if math.isfinite(more)}):
            return {"links judged": 0}
        return {
            "links judged": len(known),
            "delay both ways ms": round(1000 * median(self._both(link) for link in known), 1),
            "rise of round trip ms": round(1000 * median(known.values()), 1),
        }

    def _links(self) -> list[Link]:
        return [Link(flow.src, flow.dst) for flow in self.shapes]

    def _both(self, link: Link) -> float:
        """Seconds of delay of both ways."""
        return sum(self.shapes.get(flow, PLAIN).delay for flow in both_ways(link))


def _own(look: Look, link: Link) -> float:
    """Seconds of a round trip without what other faults add to it: delays add up."""
    return look.round_trip(link) - look.delayed(link)


def zones(written: Mapping[str, str], names: Sequence[str] | Mapping[str, object]) -> dict[str, str]:
    """Node → its zone. Raises UsageError for a pattern that matches nobody and for a node in two zones."""
    zone_of: dict[str, str] = {}
    for zone, pattern in written.items():
        for name in members(pattern, names):
            if name in zone_of:
                raise UsageError(f"zones: {name} is in {zone_of[name]} and in {zone}")
            zone_of[name] = zone
    return zone_of


def spread(look: Look, link: Link) -> float:
    """Seconds between the shortest and the longest round trip: what noise does by itself."""
    trips = look.round_trips(link)
    return max(trips) - min(trips) if trips else math.inf
