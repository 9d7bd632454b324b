"""One thread that waits for everything: file descriptors, signals, times, and work cut into slices."""

from __future__ import annotations

import heapq
import os
import select
import time
from collections.abc import Iterator
from itertools import count
from typing import Any, Callable

from .light import suppress
from .signals import nothing_ignored, signal

Call = Callable[[], Any]


class Timer:
    """Something to be called later; `cancel` and it is not."""

    def __init__(self, call: Call) -> None:
        self.call: Call | None = call

    def cancel(self) -> None:
        self.call = None


class Loop:
    """Calls back what is due until `stop`. Its clock is the monotonic one."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._watched: dict[int, tuple[Call | None, Call | None]] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = count()
        self._jobs: list[Iterator[Any]] = []
        self._running = True

    def watch(self, fd: int, read: Call | None = None, write: Call | None = None) -> None:
        """Call `read` while there is something to read, `write` while there is room; with neither, no longer."""
        if read or write:
            self._watched[fd] = (read, write)
            self._poll.register(fd, (select.POLLIN if read else 0) | (select.POLLOUT if write else 0))
        elif self._watched.pop(fd, None):
            self._poll.unregister(fd)

    def after(self, seconds: float, call: Call) -> Timer:
        timer = Timer(call)
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), timer))
        return timer

    def slices(self, job: Iterator[Any]) -> None:
        """Long work, done one step at a time between everything else."""
        self._jobs.append(job)

    def stop(self) -> None:
        self._running = False

    def run(self) -> None:
        while self._running:
            for fd, events in self._poll.poll(self._patience()):
                self._call(fd, events)
            while self._timers and self._timers[0][0] <= time.monotonic():
                timer = heapq.heappop(self._timers)[2]
                if timer.call is not None:
                    timer.call()
            if self._jobs:
                job = self._jobs.pop(0)
                with suppress(StopIteration):
                    next(job)
                    self._jobs.append(job)

    def _patience(self) -> int | None:
        """Milliseconds: the first whole one after what is due."""
        if self._jobs:
            return 0
        return max(0, int((self._timers[0][0] - time.monotonic()) * 1000) + 1) if self._timers else None

    def _call(self, fd: int, events: int) -> None:
        """Whoever was called before in this round may have changed what is watched: the newest wish counts. An error
        or the other side's end concerns both."""
        for other, index in ((select.POLLOUT, 0), (select.POLLIN, 1)):
            call = self._watched.get(fd, (None, None))[index]
            if events & ~other and call is not None:
                call()


def take_signals(loop: Loop, child_ended: Call, end: Call) -> None:
    """Have signals wake the loop: SIGCHLD, and those that ask us to end."""
    nothing_ignored()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    calls: dict[int, Call] = {signal.SIGCHLD: child_ended}
    calls.update(dict.fromkeys((signal.SIGTERM, signal.SIGINT, signal.SIGHUP), end))
    for taken in calls:
        signal.signal(taken, lambda *_: None)

    def woken() -> None:
        for number in set(os.read(reading, 4096)):
            if number in calls:
                calls[number]()

    loop.watch(reading, read=woken)
