"""Open-loop load: moments fixed in advance, kept whether or not answers are slow, and honesty about those missed."""

from __future__ import annotations

from collections.abc import AsyncIterator

from harness.api import Clock, Context, Tracker, format_duration

LATENESS_ALLOWED = 0.1
"""Seconds that the generator's own 99th percentile of lateness may reach before it says that it could not keep up."""


async def moments(clock: Clock, start: float, per_second: float, deadline: float) -> AsyncIterator[float]:
    """The intended moments (monotonic seconds) from `start`, evenly spaced, each yielded when it has come.

    Whoever is late gets the missed ones at once: none is left out, none is moved."""
    number = 0
    while per_second > 0 and (moment := start + number / per_second) < deadline:
        await clock.sleep_until(moment)
        yield moment
        number += 1


def confess(ctx: Context, tracker: Tracker) -> None:
    """At the end: how late the generator itself was, and a warning if that, or what it dropped, spoils the load."""
    summary = tracker.summary()
    lateness = summary.lateness.summary()
    ctx.note(f"{tracker.name}: sent {format_duration(lateness['p99'])} late at the 99th percentile", **lateness)
    if lateness["p99"] > LATENESS_ALLOWED:
        ctx.warn(
            f"{tracker.name}: the generator could not keep up: it was {format_duration(lateness['p99'])} late "
            f"(99th percentile; at most {format_duration(lateness['max'])})",
            **lateness,
        )
    if summary.dropped:
        ctx.warn(
            f"{tracker.name}: {summary.dropped} of {summary.offered} were never sent",
            reasons=dict(summary.reasons),
        )
