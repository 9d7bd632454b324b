"""Probes of one HTTP endpoint: sent at times that were fixed before, whatever becomes of those before them."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import anyio
import httpx

from harness.api import Clock

LATE = 0.1
"""Seconds that a probe may leave after its time; later, what it measures is the controller."""
IN_FLIGHT = 1000
"""Probes of a target that may be under way at once; one more is not sent, and counts as late."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is probed, and which nodes' faults disturb it."""

    name: str
    url: str
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """How a target is probed, and what is a good answer. Seconds."""

    method: str
    headers: dict[str, str]
    status: frozenset[int]
    interval: float
    timeout: float


@dataclass(slots=True)
class Probes:
    """What became of a target's probes, 18 bytes each: when each was due, how long after that it was over, whether it
    left in time, and whether it got a good answer. `cut_off` were still under way at the end of the drive."""

    target: Target
    due: array[float] = field(default_factory=lambda: array("d"))
    latency: array[float] = field(default_factory=lambda: array("d"))
    punctual: array[int] = field(default_factory=lambda: array("b"))
    good: array[int] = field(default_factory=lambda: array("b"))
    cut_off: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    first_failures: list[dict[str, Any]] = field(default_factory=list)

    def add(self, due: float, latency: float, punctual: bool, why: str, at: float) -> None:
        """`at`: Unix seconds at which it was due; `why` its answer was no good one, "" if it was."""
        self.due.append(due)
        self.latency.append(latency)
        self.punctual.append(punctual)
        self.good.append(not why)
        if why:
            self.reasons[why] += 1
            if len(self.first_failures) < 5:
                self.first_failures.append({"at": _utc(at), "why": why})


def _utc(at: float) -> str:
    """As nodes' logs write it, to be found there."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def probe(target: Target, ask: Ask, clock: Clock, client: httpx.AsyncClient, into: Probes, start: float) -> None:
    """Probe until cancelled: at `start`, and every interval from then on. An answer that is waited for delays no other
    probe; those that are under way when it is cancelled are not counted."""
    busy = 0

    async def one(due: float) -> None:
        nonlocal busy
        sent, wall = clock.now(), clock.wall()
        busy += 1
        try:
            why = await _answer(target, ask, client)
        except anyio.get_cancelled_exc_class():
            into.cut_off += 1
            raise
        busy -= 1
        done = clock.now()
        into.add(due, done - due, sent - due <= LATE, why, wall - (sent - due))

    async with anyio.create_task_group() as tasks:
        number = 0
        while True:
            due = start + number * ask.interval
            await clock.sleep_until(due)
            if busy < IN_FLIGHT:
                tasks.start_soon(one, due)
            else:
                into.add(due, 0.0, False, "not sent: too many were under way", clock.wall())
            number += 1


async def _answer(target: Target, ask: Ask, client: httpx.AsyncClient) -> str:
    """Why the answer is no good one, "" where it is. It is read to its end, and thrown away."""
    status = 0
    try:
        with anyio.move_on_after(ask.timeout) as limit:
            async with client.stream(ask.method, target.url, headers=ask.headers) as answer:
                async for _ in answer.aiter_raw():
                    pass
                status = answer.status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return str(error) or type(error).__name__
    if limit.cancelled_caught:
        return f"no answer within {ask.timeout:g} s"
    return "" if status in ask.status else f"status {status}"


@dataclass(slots=True)
class Tally:
    """The probes of all targets, as far as they count."""

    latencies: list[float] = field(default_factory=list)
    """Of those that left in time, sorted, failures at the end."""
    failed: int = 0
    late: int = 0
    disturbed: int = 0
    disturbed_failed: int = 0
    cut_off: int = 0

    @property
    def counted(self) -> int:
        return len(self.latencies)

    @property
    def availability(self) -> float:
        return 1 - self.failed / self.counted if self.counted else math.nan

    def percentile(self, share: float) -> float:
        """Nearest rank: the smallest latency that so many of all are at most. Infinite where a failure is there."""
        return self.latencies[max(0, math.ceil(share * self.counted - 1e-9) - 1)]

    def slower(self, limit: float) -> int:
        """How many took longer than this many seconds, failures included."""
        return sum(latency > limit for latency in self.latencies)


def tally(
    all_probes: Iterable[Probes], disturbed: Callable[[str], Sequence[tuple[float, float]]], leave_out: bool
) -> Tally:
    """`disturbed` gives the stretches in which a node was under a fault; probes whose time from due to answered touches
    one of their target are counted apart, and left out of the rest if asked to."""
    result = Tally()
    for probes in all_probes:
        result.cut_off += probes.cut_off
        stretches = [stretch for node in probes.target.nodes for stretch in disturbed(node)]
        for due, latency, punctual, good in zip(probes.due, probes.latency, probes.punctual, probes.good, strict=True):
            failed = not good
            if any(begin <= due + latency and due <= end for begin, end in stretches):
                result.disturbed += 1
                result.disturbed_failed += failed
                if leave_out:
                    continue
            if not punctual:
                result.late += 1
                continue
            result.failed += failed
            result.latencies.append(math.inf if failed else latency)
    result.latencies.sort()
    return result
