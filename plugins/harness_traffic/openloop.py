"""Open-loop load: moments fixed in advance, kept whether or not answers are slow, and honesty about those missed."""

from __future__ import annotations

import itertools
import math
from collections.abc import AsyncIterator

from harness.api import Context, Rate, Tracker, format_duration

LATENESS_ALLOWED = 0.1
"""Seconds that the generator's own 99th percentile of lateness may reach before it says that it could not keep up."""


async def moments(ctx: Context, rate: Rate, tracker: Tracker) -> AsyncIterator[float]:
    """The intended moments (monotonic seconds) of the drive, evenly spaced, each yielded when it has come.

    Whoever is late gets the missed ones at once: none is left out, none is moved. While the run is paused there are
    none: the rest comes later by as long. Nothing is begun after the deadline: what was not reached by then goes into
    the tracker's account, as dropped."""
    start, per_second = ctx.window.start, rate.per_second(ctx.block_interval)
    tracker.target = per_second
    if not per_second:
        return
    for number in itertools.count():
        moment = start + number / per_second
        if (behind := _due(moment, ctx.deadline, per_second)) <= 0:
            return
        await ctx.clock.sleep_until(moment)
        if held := await ctx.unpaused():
            start += held
            moment += held
            if (behind := _due(moment, ctx.deadline, per_second)) <= 0:
                return
        if ctx.clock.now() >= ctx.deadline:
            tracker.missed(behind, f"the generator was {behind} behind at the deadline")
            return
        yield moment


def _due(moment: float, deadline: float, per_second: float) -> int:
    """How many moments there are from this one on, the last one before the deadline."""
    return math.ceil(round((deadline - moment) * per_second, 6))


def confess(ctx: Context, tracker: Tracker) -> None:
    """At the end: how late the generator itself was, and a warning if that, or what it dropped, spoils the load."""
    summary = tracker.summary()
    lateness = summary.lateness.summary()
    ctx.note(f"sent {format_duration(lateness['p99'])} late at the 99th percentile", **lateness)
    if lateness["p99"] > LATENESS_ALLOWED:
        ctx.warn(
            f"the generator could not keep up: it was {format_duration(lateness['p99'])} late "
            f"(99th percentile; at most {format_duration(lateness['max'])})",
            **lateness,
        )
    if summary.dropped:
        ctx.warn(
            f"{summary.dropped} of {summary.offered} were never sent",
            reasons=dict(summary.reasons),
        )
