"""Open-loop load: moments fixed in advance, kept whether or not answers are slow, and honesty about those missed."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator

from harness.api import Context, Rate, Tracker, format_duration

LATENESS_ALLOWED = 0.1
"""Seconds that the generator's own 99th percentile of lateness may reach before it says that it could not keep up."""


async def moments(ctx: Context, rate: Rate, tracker: Tracker) -> AsyncIterator[float]:
    """The intended moments (monotonic seconds) of the drive, evenly spaced, each yielded when it has come.

    Whoever is late gets the missed ones at once: none is left out, none is moved. Nothing is begun after the
    deadline: what was not reached by then goes into the tracker's account, as dropped."""
    start, per_second = ctx.window.start, rate.per_second(ctx.block_interval)
    due = math.ceil(round((ctx.deadline - start) * per_second, 6))  # the last one is before the deadline
    for number in range(due):
        moment = start + number / per_second
        await ctx.clock.sleep_until(moment)
        if ctx.clock.now() >= ctx.deadline:
            behind = due - number
            tracker.missed(behind, f"the generator was {behind} behind at the deadline")
            return
        yield moment


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
