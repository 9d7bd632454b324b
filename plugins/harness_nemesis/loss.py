"""The fault `loss`: a share of all packets vanishes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pydantic import Field

from harness.api import PLAIN, FaultContext, Flow, Link, LinkShape, MachineCapability, Proof
from harness_nemesis.grudge import Powers
from harness_nemesis.looking import Look, both_ways, comparable, flows_of, muddled, undelayed
from harness_nemesis.shaping import LinkConfig, LinkFault

LATE = 0.15
"""Seconds by which a round trip is longer that had to be sent again: Linux waits 200 ms at least (TCP_RTO_MIN)."""
SURE = 0.001
"""What chance alone would do less often than this, it has not done."""
DIALS = 60
"""Round trips over all links together that are wanted at least."""
MOST_DIALS = 30
"""Dials of each link at most."""


class LossConfig(LinkConfig):
    """`share` of packets that vanish, each way: 0.05 is one in twenty, at most 0.9. To lose all of them is to cut the
    link, which counts against the fault budget: that is `partition` or `block_peer`."""

    share: float = Field(gt=0, le=0.9)


class Loss(LinkFault[LossConfig]):
    """Packets vanish at random, on all links of the targets; TCP sends them again, later and slower.

    Proven by counting: a lost packet makes a round trip longer by what TCP waits. Significantly more such ones than
    before (Fisher's exact test, one-sided, 0.1 %) prove it; significantly fewer than such a loss makes (binomial) prove
    that it is not there; between the two it cannot be told. A loss below five in a hundred rarely can. Six dials of a
    link are made together: each packet is lost by itself, and a machine that is slow with so many was so before. Where
    other faults began or ceased to limit the rate, more that are late prove nothing, and fewer all the same."""

    name = "loss"
    Config = LossConfig
    at_once = 6

    def requires_machine(self) -> frozenset[MachineCapability]:
        return frozenset({MachineCapability.LINK_LOSS})

    def wanted(self, targets: Sequence[str], powers: Powers, links: Sequence[Link]) -> Mapping[Flow, LinkShape]:
        return dict.fromkeys(flows_of(targets, links), LinkShape(loss=self.config.share))

    def dials(self) -> int:
        links = len(self.shapes) // 2 or 1  # each has two ways
        return min(MOST_DIALS, math.ceil(DIALS / links / min(1.0, 4 * self.config.share)))

    def judge(self, ctx: FaultContext, before: Look, now: Look) -> Proof:
        more, fewer, seen = self._compare(before, now)
        return Proof(True if more < SURE else False if fewer < SURE else None, seen)

    def judge_healed(self, before: Look, now: Look) -> Proof:
        more, fewer, seen = self._compare(before, now)
        return Proof(False if more < SURE else True if fewer < SURE else None, seen)

    def _compare(self, before: Look, now: Look) -> tuple[float, float, dict[str, object]]:
        """How probable so many late ones, or more, are without loss; and so few, or fewer, with it."""
        links = [link for link in comparable(before, now, but=_unlimited) if self._is_lossy(link)]
        alike = [link for link in links if not muddled(before, now, link, undelayed)]
        more = fisher(*self._late(before, now, alike), *self._late(before, before, alike))
        then, all_then = self._late(before, before, links)
        late, total = self._late(before, now, links)
        # Two packets of a dial are timed: our end of it and the other side's.
        share = 1.0 - (1.0 - self.config.share) ** 2
        fewer = binomial(late, total, share)
        seen = {
            "late before": f"{then} of {all_then}",
            "late now": f"{late} of {total}",
            "expected with this loss": round(share * total, 1),
            "probability without loss": float(f"{more:.2g}"),
            "probability with this loss": float(f"{fewer:.2g}"),
        }
        return more, fewer, seen

    def _late(self, before: Look, now: Look, links: list[Link]) -> tuple[int, int]:
        """How many dials came back late or not at all, and of how many. What could not be asked is not counted."""
        usual = {link: before.round_trip(link) + now.delayed(link) - before.delayed(link) for link in links}
        dials = [(usual[link], one) for link in links for one in now.seen[link] if one.connected is not None]
        late = [one for due, one in dials if one.round_trip is None or one.round_trip > due + LATE]
        return len(late), len(dials)

    def _is_lossy(self, link: Link) -> bool:
        return any(self.shapes.get(flow, PLAIN).loss for flow in both_ways(link))


def _unlimited(shape: LinkShape) -> LinkShape:
    return replace(undelayed(shape), rate=math.inf)


def fisher(late: int, total: int, then: int, all_then: int) -> float:
    """Probability of so many late ones now, or more, if now is as then (one-sided; hypergeometric)."""
    both = late + then
    ways = math.comb(total + all_then, both)
    return sum(math.comb(total, n) * math.comb(all_then, both - n) for n in range(late, min(both, total) + 1)) / ways


def binomial(late: int, total: int, share: float) -> float:
    """Probability of so few late ones, or fewer, where each is late with this probability."""
    return sum(math.comb(total, n) * share**n * (1.0 - share) ** (total - n) for n in range(late + 1))
