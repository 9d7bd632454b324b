"""What partitions and blocked peers have in common: traffic that vanishes, by a grudge."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence

from harness.api import FaultContext, Flow, Link, LinkShape, MachineCapability, Proof
from harness_nemesis.grudge import Grudge, Powers, flows
from harness_nemesis.looking import Look, both_ways, comparable, compared, named
from harness_nemesis.shaping import LinkConfigT, LinkFault

ONE_WAY = "a connection needs both ways: that it does not come to be shows that one is cut, not which"


class Cut(LinkFault[LinkConfigT]):
    """Proven by dialling: no connection comes to be over a link that is cut, and those over others still do."""

    @abstractmethod
    def grudge(self, targets: Sequence[str], powers: Powers) -> Grudge:
        """Whose traffic each of all nodes drops. Pure. Raises FaultError, UsageError."""

    def requires_machine(self) -> frozenset[MachineCapability]:
        return frozenset({MachineCapability.LINK_CONTROL})

    def cuts(self, targets: Sequence[str], powers: Powers) -> Collection[Flow]:
        return flows(self.grudge(targets, powers)).keys()

    def wanted(self, targets: Sequence[str], powers: Powers, links: Sequence[Link]) -> Mapping[Flow, LinkShape]:
        return flows(self.grudge(targets, powers))

    def judge(self, ctx: FaultContext, before: Look, now: Look) -> Proof:
        judged = comparable(before, now)
        cut = [link for link in judged if any(flow in self.shapes for flow in both_ways(link))]
        one_way = [link for link in cut if not all(flow in self.shapes for flow in both_ways(link))]
        still_open = [link for link in cut if now.openness(link) >= (before.openness(link) if link in one_way else 1)]
        lost = [link for link in judged if link not in cut and now.openness(link) < before.openness(link)]
        seen = {
            "cut": f"{len(cut) - len(still_open)} of {len(cut)} links that could be judged",
            "not cut": named(still_open),
            "lost though not to be cut": named(lost),
            "reach": compared(before, now),
            **({"one way": ONE_WAY} if one_way else {}),
        }
        return Proof(not still_open and not lost if cut else None, seen)

    def judge_healed(self, before: Look, now: Look) -> Proof:
        judged = comparable(before, now)
        missing = [link for link in judged if now.openness(link) < before.openness(link)]
        seen = {
            "reached again": f"{len(judged) - len(missing)} of {len(judged)} links that could be judged",
            "not reached": named(missing),
            "reach": compared(before, now),
        }
        return Proof(not missing if judged else None, seen)
