"""The fault budget: no more voting power is taken out at once than the chain tolerates. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from operator import or_
from typing import Any

from harness.engine.plan import Plan
from harness.plugin.contract.chain import Network
from harness.plugin.contract.fault import Fault, FaultTurn
from harness.spec.links import Flow
from harness.spec.topology import Link

EXCEED = 'write budget = "unlimited" at the head of the playbook to exceed the budget'


@dataclass(frozen=True, slots=True)
class Toll:
    """What faults take while they hold: nodes that are `down`, traffic that vanishes."""

    down: frozenset[str] = frozenset()
    cut: frozenset[Flow] = frozenset()

    def __or__(self, other: Toll) -> Toll:
        """Both at once."""
        return Toll(self.down | other.down, self.cut | other.cut)

    def union(self, others: Iterable[Toll]) -> Toll:
        return reduce(or_, others, self)


@dataclass(frozen=True, slots=True)
class FaultBudget:
    """`powers`: each node's voting power; `others` is that of members which are no nodes of this run. `tolerance`: the
    share that the power of all nodes that are lost must stay *below*. Nodes without power are not limited. `links` are
    those of the network, by which nodes reach each other."""

    powers: Mapping[str, int]
    tolerance: Fraction
    unlimited: bool = False
    others: int = 0
    links: Sequence[Link] = ()

    @property
    def total(self) -> int:
        return sum(self.powers.values()) + self.others

    def power(self, nodes: Iterable[str]) -> int:
        return sum(self.powers.get(node, 0) for node in set(nodes))

    def lost(self, toll: Toll) -> frozenset[str]:
        """Who takes no part in consensus. Where no link is cut, that is who is down. Else it is all but the part with
        the greatest power (the first of several) of those that still reach one another over the network's links, by
        any number of steps: a link is of use while both its ends run and nothing of it is cut, either way, as a
        connection needs both. More faults never lose less power."""
        cut = self.cut(toll)
        if not cut:
            return toll.down
        running = [node for node in self.powers if node not in toll.down]
        parts = connected(running, (link for link in self.links if link not in cut))
        main: frozenset[str] = max(parts, key=self.power, default=frozenset())
        return (toll.down | frozenset(running)) - main

    def cut(self, toll: Toll) -> set[Link]:
        """The links of which it cuts one way at least."""
        return {link for link in self.links if toll.cut.intersection(both_ways(link))} if toll.cut else set()

    def allows(self, lost: Collection[str]) -> bool:
        """Whether these nodes may all be lost at once."""
        power = self.power(lost)
        return self.unlimited or power == 0 or Fraction(power, self.total) < self.tolerance

    def refuses(self, what: str, toll: Toll, held: Toll = Toll(), dead: Collection[str] = ()) -> str:
        """Why this may not be beside faults that hold and nodes that have died, "" where it may: it would take out who
        is out already, or too much power. Where it takes no more power than is lost anyway it may."""
        others = Toll(cut=held.cut)
        again = (toll.down & self.lost(held)) | (self.lost(Toll(cut=toll.cut)) & self.lost(others))
        if again:
            return f"{', '.join(sorted(again))} is out of consensus already, by another fault"
        before = held | Toll(frozenset(dead))
        lost = self.lost(before | toll)
        power = self.power(lost)
        if power <= self.power(self.lost(before)) or self.allows(lost):
            return ""
        share = f"{power} of {self.total} of the voting power would be out"
        return f"the fault budget does not allow {what}: {share}, and less than {self.tolerance} may be"

    def refuses_all(self, turns: Iterable[FaultTurn]) -> str:
        """Why none of these turns may be, were each the only fault; "" where one may, or where there is none."""
        faults = ((turn.make(), turn.targets) for turn in turns if turn.targets)
        refusals = [
            self.pointless(fault, targets) or self.refuses(what(fault, targets), self.toll(fault, targets))
            for fault, targets in faults
        ]
        return refusals[0] if refusals and all(refusals) else ""

    def pointless(self, fault: Fault[Any], targets: Sequence[str]) -> str:
        """Why it would change nothing in this network, "" where it would change something."""
        return fault.pointless(targets, self.powers, self.links)

    def toll(self, fault: Fault[Any], targets: Sequence[str]) -> Toll:
        """Raises FaultError, UsageError for targets with which it cannot be."""
        return Toll(fault.downs(targets, self.powers), frozenset(fault.cuts(targets, self.powers)))

    def __str__(self) -> str:
        if self.unlimited:
            return "unlimited"
        return f"less than {self.tolerance} of the voting power ({self.total}) down at once"


def what(fault: Fault[Any], targets: Sequence[str]) -> str:
    return f"{fault.name} of {', '.join(targets)}"


def both_ways(link: Link) -> tuple[Flow, Flow]:
    return Flow(link.src, link.dst), Flow(link.dst, link.src)


def connected(nodes: Collection[str], links: Iterable[Link]) -> list[frozenset[str]]:
    """The parts of a network whose nodes reach one another over these links, in the order of their first nodes."""
    peers: dict[str, list[str]] = {node: [] for node in nodes}
    for link in links:
        if link.src in peers and link.dst in peers:
            peers[link.src].append(link.dst)
            peers[link.dst].append(link.src)
    parts: list[frozenset[str]] = []
    placed: set[str] = set()
    for node in nodes:
        if node in placed:
            continue
        part, edge = {node}, [node]
        while edge:
            new = set(peers[edge.pop()]) - part
            part |= new
            edge += new
        placed |= part
        parts.append(frozenset(part))
    return parts


def budget_of(plan: Plan, network: Network) -> FaultBudget:
    """The budget of a plan's network: its nodes' powers and links, its chain's tolerance, unless the playbook lifts
    it."""
    powers = {node.name: network.power(node) for node in plan.topology.nodes}
    unlimited = plan.playbook.budget == "unlimited"
    return FaultBudget(powers, plan.chain.tolerance, unlimited, network.other_power, plan.topology.links)
