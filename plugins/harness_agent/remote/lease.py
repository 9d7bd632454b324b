"""A machine had alone: its lock, and the lease on it, which is over unless it is renewed in time."""

from __future__ import annotations

import os

from .frames import Header
from .loop import Loop
from .processes import boot_id, look
from .state import Holder, Lock, Locked, Place, boottime, tidy

GRACE = 1.0
"""Seconds after the end of a lease in which a renewal that had come before it may still be read."""


class Lease:
    """Begins when it is made, for who has the lock already."""

    def __init__(self, lock: Lock, run: str, owner: str, since: float, seconds: float) -> None:
        me = look(os.getpid())
        assert me is not None
        self._lock, self._seconds = lock, seconds
        self._holder = Holder(run, owner, since, me.pid, me.start, boot_id(), 0.0)
        self.renew()

    def renew(self) -> Header:
        self.last(self._seconds)
        return {}

    def last(self, seconds: float) -> None:
        """So long from now on."""
        self._holder.expires = boottime() + seconds
        self._lock.write(self._holder)

    def watch(self, loop: Loop, last: bool = False) -> None:
        """Stop the loop when it is over, which is when what had come by then was read: we may have stood still."""
        if self._holder.expires_in > 0:
            loop.after(self._holder.expires_in, lambda: self.watch(loop))
        elif last:
            loop.stop()
        else:
            loop.after(GRACE, lambda: self.watch(loop, last=True))


class Alone:
    """Has a machine without keeping anything on it: for an agent whose commands end with its connection, as this
    does."""

    def __init__(self, place: Place, run: str, owner: str, since: float, seconds: float) -> None:
        """What dead runs have left is cleared away before. Raises Locked, Uncleared, OSError, ValueError."""
        self._nothing_of_it = place.run(run)
        self._lock = _take(place)
        try:
            self.lease = Lease(self._lock, run, owner, since, seconds)
            if place.runs():
                from .runs import clear_all  # not at the top: slow to load, and seldom is there anything

                clear_all(place)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        self._lock.release()
        tidy(self._nothing_of_it)


def _take(place: Place) -> Lock:
    try:
        return Lock(place)
    except Locked:
        from .runs import take  # from one who is overdue, or about to go

        return take(place)
