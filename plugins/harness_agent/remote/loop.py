"""One thread that waits for everything: file descriptors, signals, times, and work cut into slices."""

from __future__ import annotations

import collections
import contextlib
import heapq
import itertools
import os
import selectors
import signal
import time
from collections.abc import Iterator
from typing import Any, Callable

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
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._jobs: collections.deque[Iterator[Any]] = collections.deque()
        self._running = True

    def watch(self, fd: int, read: Call | None = None, write: Call | None = None) -> None:
        """Call `read` while there is something to read, `write` while there is room; with neither, no longer."""
        events = (selectors.EVENT_READ if read else 0) | (selectors.EVENT_WRITE if write else 0)
        known = fd in self._selector.get_map()
        if not events:
            if known:
                self._selector.unregister(fd)
        elif known:
            self._selector.modify(fd, events, (read, write))
        else:
            self._selector.register(fd, events, (read, write))

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
            for key, events in self._selector.select(self._patience()):
                self._call(key, events)
            while self._timers and self._timers[0][0] <= time.monotonic():
                timer = heapq.heappop(self._timers)[2]
                if timer.call is not None:
                    timer.call()
            if self._jobs:
                job = self._jobs.popleft()
                with contextlib.suppress(StopIteration):
                    next(job)
                    self._jobs.append(job)

    def _patience(self) -> float | None:
        if self._jobs:
            return 0.0
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None

    def _call(self, key: selectors.SelectorKey, events: int) -> None:
        """Whoever was called before in this round may have changed what is watched: the newest wish counts."""
        for event, index in ((selectors.EVENT_READ, 0), (selectors.EVENT_WRITE, 1)):
            current = self._selector.get_map().get(key.fd)
            if events & event and current is not None and current.data[index] is not None:
                current.data[index]()


def take_signals(loop: Loop, child_ended: Call, end: Call) -> None:
    """Have signals wake the loop: SIGCHLD, and those that ask us to end. None stays ignored or blocked, as children
    inherit that."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals():
        if number not in (signal.SIGPIPE, signal.SIGXFSZ) and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)  # those two Popen restores
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
