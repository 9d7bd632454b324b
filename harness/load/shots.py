"""What is to be sent next: one body again and again, requests in the order in which they came, or lanes of requests of
which each waits for the one before it."""

from __future__ import annotations

from collections import deque

from harness.load.wire import NO_LANE, Shot


class Lanes:
    """With `ordered`, a lane has one request under way at most. One that was not taken makes those of the same epoch
    void that are behind it: whoever feeds the lane gives it a later epoch when it goes on. Memory: what was fed."""

    def __init__(self, ordered: bool, repeat: bytes | None = None) -> None:
        self._ordered = ordered
        self._repeat = None if repeat is None else Shot(0, NO_LANE, 0, repeat)
        self._ready: deque[Shot] = deque()
        self._waiting: dict[int, deque[Shot]] = {}
        self._busy: set[int] = set()
        self._epochs: dict[int, int] = {}
        self.waiting = 0
        """Requests that wait for another one of their lane."""

    def feed(self, shot: Shot) -> None:
        self._ready.append(shot)

    def next(self) -> Shot | None:
        """The next one that may go; None where there is none. Its lane is busy until it has `ended`."""
        if self._repeat is not None:
            return self._repeat
        ready = self._ready
        if not self._ordered:
            return ready.popleft() if ready else None
        while ready:
            shot = ready.popleft()
            lane = shot.lane
            if shot.epoch < self._epochs.get(lane, 0):
                continue
            if lane in self._busy:
                self._waiting.setdefault(lane, deque()).append(shot)
                self.waiting += 1
                continue
            self._busy.add(lane)
            return shot
        return None

    def ended(self, shot: Shot, taken: bool) -> None:
        """What became of one that `next` gave."""
        lane = shot.lane
        self._busy.discard(lane)
        if not taken:
            self._epochs[lane] = shot.epoch + 1
        behind = self._waiting.pop(lane, None)
        if not behind:
            return
        self.waiting -= len(behind)
        if not taken:
            behind = deque(one for one in behind if one.epoch > shot.epoch)
        if behind:
            self._ready.appendleft(behind.popleft())
        if behind:
            self._waiting[lane] = behind
            self.waiting += len(behind)
