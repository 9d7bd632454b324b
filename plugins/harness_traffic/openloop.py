"""Open-loop load: moments fixed in advance, kept whether or not answers are slow, and honesty about those missed."""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator

from harness.api import LATENESS_ALLOWED, Arrivals, Context, Profile, Rate, Tracker, constant, format_duration
from harness.api import moments as arriving


async def moments(
    ctx: Context,
    load: Rate | Profile,
    tracker: Tracker,
    arrivals: Arrivals = "uniform",
    rng: random.Random | None = None,
) -> AsyncIterator[float]:
    """The intended moments (monotonic seconds) of the drive, each yielded when it has come.

    Whoever is late gets the missed ones at once: none is left out, none is moved. While the run is paused there are
    none: the rest comes later by as long. Nothing is begun after the deadline: what was not reached by then goes into
    the tracker's account, as dropped."""
    start = ctx.window.start
    whole = constant(load.per_second(ctx.block_interval), ctx.deadline - start) if isinstance(load, Rate) else load
    tracker.target = whole.rate(0.0)
    for number, offset in enumerate(arriving(whole, arrivals, rng)):
        moment = start + offset
        if moment >= ctx.deadline:
            return
        await ctx.clock.sleep_until(moment)
        if held := await ctx.unpaused():
            start += held
            moment += held
            if moment >= ctx.deadline:
                return
        if ctx.clock.now() >= ctx.deadline:
            behind = math.ceil(round(whole.due_until(ctx.deadline - start), 6)) - number
            tracker.missed(behind, f"the generator was {behind} behind at the deadline")
            return
        tracker.target = whole.rate(offset)
        yield moment


def confess(ctx: Context, tracker: Tracker) -> None:
    """At the end: how late the generator itself was, and a warning if that, or what it dropped, spoils the load."""
    summary = tracker.summary()
    lateness = summary.lateness.summary()
    figures, dropped, offered = dict(lateness), summary.dropped, summary.offered
    if (account := tracker.senders) is not None:
        total = account.total
        offered = total.offered
        dropped = account.unsent
        figures |= {
            "started": total.started,
            "on_time": total.on_time,
            "senders": account.processes,
            "cpu_seconds": round(account.cpu, 3),
            "busiest": round(account.busiest, 3),
            "memory_bytes": account.memory,
            "connections": total.connects,
        }
    line = f"sent {format_duration(lateness['p99'])} late at the 99th percentile"
    if account is not None:
        many = "a process" if account.processes == 1 else f"{account.processes} processes"
        where = f" on {', '.join(account.machines)}" if account.machines else " of its own"
        line += f", by {many}{where} at {account.busiest:.0%} of a core at most"
    ctx.note(line, **figures)
    if lateness["p99"] > LATENESS_ALLOWED:
        ctx.warn(
            f"the generator could not keep up: it was {format_duration(lateness['p99'])} late "
            f"(99th percentile; at most {format_duration(lateness['max'])})",
            **lateness,
        )
    if dropped:
        reasons = dict(summary.reasons) if tracker.followed else account.unsent_reasons() if account else {}
        ctx.warn(f"{dropped} of {offered} were never sent", reasons=reasons)
