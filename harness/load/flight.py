"""Requests on their way: alone, or several in one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from harness.load.job import Batching, Taken
from harness.load.wire import Shot

if TYPE_CHECKING:
    from harness.load.connection import Connection


class Flight:
    """A request on its way. Times are monotonic seconds; `went_out`: some server may have got it; `server` is the
    number of the one that it was given to last, `tried` how many it was given to."""

    __slots__ = ("connection", "deadline", "done", "due", "fired", "server", "shot", "tried", "went_out")

    def __init__(self, shot: Shot, due: float, fired: float, deadline: float) -> None:
        self.shot = shot
        self.due = due
        self.fired = fired
        self.deadline = deadline
        self.done = False
        self.went_out = False
        self.tried = 0
        self.server = -1
        self.connection: Connection | None = None


Cargo = tuple[Flight, ...]
"""What one request carries: one flight, or more where the server takes batches."""


def body_of(cargo: Cargo) -> bytes:
    """The request's body."""
    if len(cargo) == 1:
        return cargo[0].shot.body
    return b"[" + b",".join([flight.shot.body for flight in cargo]) + b"]"


def answers(cargo: Cargo, body: bytes, batching: Batching) -> Iterator[tuple[Flight, bytes]]:
    """Each flight with its own part of a batch's answer; with all of it where that has no part for it."""
    try:
        parts = json.loads(body)
        by_id = {part[batching.id]: part for part in parts}
    except (ValueError, KeyError, TypeError, RecursionError):
        by_id = {}
    for flight in cargo:
        part = by_id.get(flight.shot.serial)
        yield flight, body if part is None else json.dumps(part).encode()


def is_taken(taken: Taken, status: int, body: bytes) -> bool:
    """Whether this answer means that the server took the request."""
    if status not in taken.statuses:
        return False
    if not taken.pointer:
        return True
    try:
        value: Any = json.loads(body)
        for name in taken.pointer:
            value = value[name]
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
    return bool(value == taken.value)
