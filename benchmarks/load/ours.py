"""Ours: one sender of harness.load, in a process of its own."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from dataclasses import dataclass
from functools import cache
from urllib.parse import urlsplit

from figures import Figures

from harness.load.arrivals import constant
from harness.load.job import Job, Start, Target, head
from harness.load.senders import senders
from harness.load.tally import Distribution, Tally, Told

FULL = 150_000.0
"""Requests per second: more than one core sends."""
MORE = 1.25
"""Times what it can are offered where as many are to be sent as can be: what is dropped costs CPU, too."""
PROBES, PROBE = 6, 0.4
BEGIN = 0.2
"""Seconds from the word to start to the first moment of the schedule."""


@dataclass(frozen=True)
class OwnWord:
    """What a generator says of its schedule itself: requests sent, and dropped for want of a free connection; lateness
    of sending in seconds, None where it tells none."""

    sent: int
    dropped: int
    p50: float | None = None
    p99: float | None = None
    longest: float | None = None


def ours(url: str, body: bytes, connections: int, seconds: float, core: int) -> Figures:
    """As many requests as it can send on these connections: a few more are offered, and dropped."""
    rate = MORE * _capacity(url, body, connections, core)
    tally, cpu = asyncio.run(_send(url, body, connections, seconds, core, rate))
    errors = tally.read + tally.timed_out + tally.lost + tally.failed
    return Figures(tally.taken, errors, seconds, cpu, of(tally.service, 50), of(tally.service, 99))


@cache
def _capacity(url: str, body: bytes, connections: int, core: int) -> float:
    """Requests per second that it can send, about: the best of some short attempts."""
    best, rate = 0.0, FULL
    for _ in range(PROBES):
        tally, _ = asyncio.run(_send(url, body, connections, PROBE, core, rate))
        best = max(best, tally.taken / PROBE)
        rate = MORE * best
    return best


def scheduled(url: str, body: bytes, connections: int, seconds: float, core: int, rate: float) -> OwnWord:
    """So many requests per second, evenly spaced, on these connections at most."""
    tally, _ = asyncio.run(_send(url, body, connections, seconds, core, rate))
    late = tally.lateness
    return OwnWord(tally.started, tally.dropped, of(late, 50), of(late, 99), of(late, 100))


def of(distribution: Distribution, percent: float) -> float:
    """The percentile, in seconds."""
    rank, seen = percent / 100 * sum(distribution.values()), 0
    for value in sorted(distribution):
        seen += distribution[value]
        if seen >= rank:
            return value / 1e6
    return 0.0


async def _send(url: str, body: bytes, connections: int, seconds: float, core: int, rate: float) -> tuple[Tally, float]:
    """What it counted, and the CPU seconds of its process from its start to its end."""
    where = urlsplit(url)
    first_line = head("POST", where.path, where.netloc, {"Content-Type": "application/json"})
    target = Target("nginx", where.hostname or "", where.port or 80, first_line)
    job = Job((target,), max_in_flight=connections, connections=connections, repeat=body)
    tally = Tally()

    def told(_: int, told: Told) -> None:
        tally.add(told.tally)

    before, cores = resource.getrusage(resource.RUSAGE_CHILDREN), os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})  # it is inherited
    try:
        async with senders(job) as one:
            os.sched_setaffinity(0, cores - {core} or cores)
            await one.start(Start(time.monotonic() + BEGIN, constant(rate, seconds)))
            await one.listen(lambda _, results: None, told)
    finally:
        os.sched_setaffinity(0, cores)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return tally, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
