"""What dead runs have left on a machine, ended and undone."""

from __future__ import annotations

import os
import time
from typing import Sequence

from . import leftovers
from .frames import Header
from .ledger import Audit
from .runs import PATIENCE, Run, take
from .state import Holder, Locked, Place, read_lock, tidy


def sweep(base: str, only: str, spare: Sequence[str], audit: Audit) -> Header:
    """Of the user that we are: what was `done`, what is `left` in spite of that, and which runs are `alive` and let
    alone (`{}` is one that is about to begin). With `only` it is for this run alone, be it alive or not; never for
    those to `spare`. Blocking."""
    place = Place.of(base, os.geteuid(), os.getegid())
    done: list[str] = []
    left: list[str] = []
    if not place.runs() and read_lock(place) is None:
        return {"done": [], "left": [], "alive": []}
    holder = read_lock(place)
    if only and holder is not None and holder.run == only and holder.lives:
        leftovers.kill(holder.pid, holder.start)
        give_up = time.monotonic() + PATIENCE
        while holder.lives and time.monotonic() < give_up:  # no child of ours: nobody tells us
            time.sleep(leftovers.LOOK_AGAIN)
        done.append(f"run {only}: killed its keeper (pid {holder.pid})")
    try:
        lock = take(place)
    except Locked as locked:
        return {"done": done, "left": left, "alive": [_told(locked.holder) if locked.holder else {}]}
    try:
        for name in place.runs():
            if only in ("", name) and name not in spare:
                run = Run(place, name)
                cleared, uncleared = run.clear_dead(audit)
                done += [*cleared, *([] if uncleared else [f"run {name}: removed its folder"])]
                left += uncleared
    finally:
        lock.release()
        tidy(place.run("x"))
    return {"done": done, "left": left, "alive": []}


def holder(base: str) -> Header:
    """The run of this user's that holds the machine, where one does. Only looks."""
    found = read_lock(Place.of(base, os.geteuid(), os.getegid()))
    if found is None or not found.lives:
        return {}
    return _told(found)


def _told(holder: Holder) -> Header:
    return {"run": holder.run, "owner": holder.owner, "since": holder.since, "expires_in": holder.expires_in}
