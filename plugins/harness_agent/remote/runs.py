"""A run on a machine, by its folder: what it has there, and how all of it goes again, be its keeper alive or not."""

from __future__ import annotations

import json
import os
import time
from typing import Any, Callable, Sequence, Tuple

from . import files, leftovers, systemd
from .ledger import UNDO_WITHIN, Audit, Ledger, undo_all
from .state import Holder, Lock, Locked, Place, own_folder, tidy, write_json
from .users import User

PATIENCE = 5.0
"""Seconds that SIGKILL may take."""
OVERDUE = 10.0
"""Seconds after the end of its lease at which a keeper that is still there counts as one that stands still."""

Cleared = Tuple[Sequence[str], Sequence[str]]
"""What was done, and what is left in spite of that: a line each."""


class Uncleared(ValueError):
    """What a dead run left here cannot be undone."""


class Run:
    """Its files. `about` says whose it is: `run`, `owner`, `user` and `env` of who logged in, and its `work` folder."""

    def __init__(self, place: Place, run: str) -> None:
        self.place, self.name = place, run
        self.folder = place.run(run)
        self.socket = os.path.join(self.folder, "socket")
        self.record = os.path.join(self.folder, "processes.jsonl")
        self.logs = os.path.join(self.folder, "logs")
        self.errors = os.path.join(self.folder, "keeper.log")
        self._about = os.path.join(self.folder, "about.json")
        self.units = systemd.Units(os.path.join(self.folder, "units"))
        self.ledger = Ledger(os.path.join(self.folder, "ledger.jsonl"))

    @classmethod
    def make(cls, place: Place, run: str, about: dict[str, Any], user: User) -> Run:
        """On the disk, with a work folder of the user's. Raises OSError."""
        made = cls(place, run)
        place.make(run)
        own_folder(made.logs, place.uid, place.gid)
        uid, gid = (user.identity.uid, user.identity.gid) if user.identity else (place.uid, place.gid)
        theirs = Place(place.base, uid, gid)
        about["work"] = os.path.join(theirs.make(run), "work")
        own_folder(about["work"], uid, gid)
        write_json(made._about, about)
        return made

    def about(self) -> dict[str, Any]:
        """Empty where it died before it could write it, and did nothing."""
        try:
            with open(self._about, "rb") as file:
                content = json.load(file)
        except (FileNotFoundError, ValueError):
            return {}
        return dict(content)

    def clear(self, audit: Audit, end_processes: Callable[[], Cleared]) -> Cleared:
        """Undo what is in the ledger, newest first, end all services and processes, remove the folders. Where
        something is left, what is needed to try again stays. Blocking."""
        about = self.about()
        done: list[str] = []
        left: list[str] = []
        if about:
            user, root = users(about)
            undone, not_undone = undo_all(self.ledger, user, root, audit)
            ended, not_ended = end_processes()
            done, left = [*undone, *ended], [*not_undone, *not_ended]
        if not left:
            theirs = os.path.dirname(about["work"]) if about else self.folder
            for folder in {theirs, self.folder}:
                files.remove(folder)
                tidy(folder)
        return done, left

    def end_units(self, audit: Audit) -> Cleared:
        manager = systemd.manager_of(self.about())
        return self.units.end(manager, audit) if manager is not None else ((), ())

    def clear_dead(self, audit: Audit) -> Cleared:
        """The same for one whose keeper is dead."""
        done, left = self.clear(audit, lambda: self._end_processes(audit))
        return [f"run {self.name}: {line}" for line in done], [f"run {self.name}: {line}" for line in left]

    def _end_processes(self, audit: Audit) -> Cleared:
        ended, standing = self.end_units(audit)
        killed, left = leftovers.end(self.record, PATIENCE)
        return [*ended, *(f"killed {one}" for one in killed)], [*standing, *(f"still running: {one}" for one in left)]


def users(about: dict[str, Any]) -> tuple[User, User | None]:
    """Who logged in, and root where we are."""
    return User(about["user"], about["env"]), User() if os.geteuid() == 0 else None


def take(place: Place) -> Lock:
    """The lock of a machine, also from one who stands still though its lease is over, and after whoever clears away
    what a dead one left. Raises Locked, OSError."""
    give_up = time.monotonic() + UNDO_WITHIN
    while True:
        try:
            return Lock(place)
        except Locked as locked:
            holder = locked.holder
            if holder is None or (holder.lives and not overdue(holder)) or time.monotonic() > give_up:
                raise
            if overdue(holder):
                leftovers.kill(holder.pid, holder.start)
            time.sleep(leftovers.LOOK_AGAIN)  # flock(2) has no deadline, and another one may be faster


def clear_all(place: Place) -> None:
    """What dead runs have left, to who has the lock: nobody else lives. Raises Uncleared."""
    for run in place.runs():
        if left := Run(place, run).clear_dead(lambda _: None)[1]:
            raise Uncleared("; ".join(left))


def overdue(holder: Holder) -> bool:
    """Whether it should have ended by itself long since."""
    return holder.expires_in < -OVERDUE
