"""Whole garbage collections at times when nobody waits: on the heap of a long run one takes a third of a second."""

from __future__ import annotations

import gc
import time

NOT_BY_ITSELF = 1_000_000_000
QUIET = 2.0
"""Seconds without a key or a click after which somebody is taken to look on only."""
EVERY, AT_LATEST = 20.0, 300.0
"""Seconds from one to the next: where it is quiet, and where it never is."""


class Garbage:
    """This process's, from `begin` to `end`. Small collections go on as ever."""

    def __init__(self) -> None:
        self._collected = 0.0
        self._before: tuple[int, int, int] | None = None

    def begin(self) -> None:
        self._collected = time.monotonic()
        self._before = gc.get_threshold()
        gc.set_threshold(*self._before[:2], NOT_BY_ITSELF)

    def end(self) -> None:
        if self._before is not None:
            gc.set_threshold(*self._before)
            self._before = None

    def look(self, asked_at: float) -> None:
        """Collect, if it is time. `asked_at` is when something was last asked for, in monotonic seconds."""
        now = time.monotonic()
        if now - self._collected >= (EVERY if now - asked_at >= QUIET else AT_LATEST):
            gc.collect()
            self._collected = time.monotonic()
