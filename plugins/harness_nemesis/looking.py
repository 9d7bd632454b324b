"""How links between nodes look at one moment, and which of them a later look can be held against."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

import anyio

from harness.api import PLAIN, FaultContext, Flow, Link, LinkShape, NodeState, Reach, Throughput

LIVE = frozenset({NodeState.RUNNING, NodeState.STARTING})
SHOWN = 40
"""Links that evidence names one by one."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of links in one or more dials each. `live` are the nodes that ran from its begin to its end;
    `others` is what other faults did to traffic, and `unsteady` the flows to which they did something else at its end
    than at its begin. `passed` is how fast bytes went over some of the links, where that was looked at, too."""

    seen: Mapping[Link, Sequence[Reach]]
    live: Collection[str]
    others: Mapping[Flow, LinkShape] = field(default_factory=dict)
    unsteady: Collection[Flow] = ()
    passed: Mapping[Link, Throughput] = field(default_factory=dict)

    def openness(self, link: Link) -> int:
        """The best of its dials: 0, no connection came to be; 1, one did; 2, and its other side answered. A relay may
        take a connection by itself, and some protocols do not answer the end of one."""
        return max((int(bool(one.connected)) + (one.round_trip is not None) for one in self.seen[link]), default=0)

    def was_asked(self, link: Link) -> bool:
        """Whether the machine that dials could say what it saw."""
        return any(one.connected is not None for one in self.seen[link])

    def round_trips(self, link: Link) -> list[float]:
        return [one.round_trip for one in self.seen[link] if one.round_trip is not None]

    def round_trip(self, link: Link) -> float:
        """Median of its dials, in seconds; infinite where none came back."""
        return median(self.round_trips(link) or [math.inf])

    def delayed(self, link: Link) -> float:
        """Seconds that other faults had added to each of its round trips, give or take jitter."""
        return sum(self.others.get(flow, PLAIN).delay for flow in both_ways(link))

    def told(self, link: Link) -> str:
        """One link, for evidence."""
        if trips := self.round_trips(link):
            return f"answers in {1000 * median(trips):.1f} ms"
        errors = [one.error for one in self.seen[link] if one.error]
        return errors[-1] if errors else "connected" if self.openness(link) else "no connection"


async def look(ctx: FaultContext, links: Iterable[Link], patience: float, times: int = 1, at_once: int = 1) -> Look:
    """Dial all these links so many times, `at_once` of them together, which disturb one another's round trips."""
    chosen = tuple(links)
    live, others = live_nodes(ctx), ctx.shaped_by_others()
    seen: dict[Link, list[Reach]] = {link: [] for link in chosen}

    async def dial() -> None:
        for link, reach in (await ctx.reach(chosen, patience)).items():
            seen[link].append(reach)

    for begun in range(0, times, at_once):
        async with anyio.create_task_group() as tasks:
            for _ in range(min(at_once, times - begun)):
                tasks.start_soon(dial)
    after = ctx.shaped_by_others()
    unsteady = {flow for flow in {*others, *after} if others.get(flow, PLAIN) != after.get(flow, PLAIN)}
    return Look(seen, live & live_nodes(ctx), others, unsteady)


def comparable(before: Look, now: Look, *, but: Callable[[LinkShape], LinkShape] = lambda shape: shape) -> list[Link]:
    """Links of the second look that can be judged by the first: they were open then, could be asked about now, both
    their ends run, and what other faults do to them is the same, `but` for what this leaves out of it."""
    return [
        link
        for link in now.seen
        if link in before.seen
        and before.openness(link) > 0
        and now.was_asked(link)
        and {link.src, link.dst} <= set(now.live)
        and all(
            but(before.others.get(flow, PLAIN)) == but(now.others.get(flow, PLAIN))
            and flow not in before.unsteady
            and flow not in now.unsteady
            for flow in both_ways(link)
        )
    ]


def undelayed(shape: LinkShape) -> LinkShape:
    """For `comparable`: where `Look.delayed` is taken off."""
    return replace(shape, delay=0.0, jitter=0.0)


def only_cut(shape: LinkShape) -> LinkShape:
    """For `comparable`: where it is told apart what others slow down."""
    return replace(PLAIN, cut=shape.cut)


def muddled(before: Look, now: Look, link: Link, own: Callable[[LinkShape], LinkShape]) -> bool:
    """Whether others do something else to it than before, but for what `own` leaves out. What is slower now may then be
    their doing. What is quicker than this fault would let it be still tells something: nothing makes a link quicker."""
    return any(own(before.others.get(flow, PLAIN)) != own(now.others.get(flow, PLAIN)) for flow in both_ways(link))


def both_ways(link: Link) -> tuple[Flow, Flow]:
    return Flow(link.src, link.dst), Flow(link.dst, link.src)


def flows_of(nodes: Collection[str], links: Iterable[Link]) -> list[Flow]:
    """Both ways of all links of these nodes."""
    return [flow for link in links if link.src in nodes or link.dst in nodes for flow in both_ways(link)]


def compared(before: Look, now: Look) -> dict[str, Any]:
    """Evidence: link by link, what was seen before and now."""
    shown = {
        f"{link.src} → {link.dst}": {"before": before.told(link), "now": now.told(link)}
        for link in list(now.seen)[:SHOWN]
        if link in before.seen
    }
    return {**shown, "…": f"{len(now.seen) - SHOWN} more"} if len(now.seen) > SHOWN else shown


def named(links: Iterable[Link]) -> list[str]:
    return [f"{link.src} → {link.dst}" for link in links]


def live_nodes(ctx: FaultContext) -> frozenset[str]:
    """Nodes that run, or are about to."""
    return frozenset(name for name, node in ctx.nodes.items() if node.state in LIVE)
