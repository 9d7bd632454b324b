"""What a sender that was lost was to have sent by then: the same moments are drawn here as there."""

from __future__ import annotations

import itertools
import math
import random

from harness.load.arrivals import moments, share
from harness.load.job import Start


class Schedule:
    """One of several senders' moments up to when it was stopped. All times are the controller's monotonic seconds."""

    def __init__(self, start: Start, number: int, among: int) -> None:
        self._start = start
        self._number = number
        self._among = among
        self._held = 0.0
        self._paused_at: float | None = None
        self.until = math.inf
        """When it was stopped."""

    def pause(self, at: float) -> None:
        """Nothing is due from this moment until `resume`."""
        if self._paused_at is None:
            self._paused_at = max(at, self._start.at)

    def resume(self, at: float) -> None:
        if self._paused_at is not None:
            self._held += max(0.0, at - self._paused_at)
            self._paused_at = None

    def stop(self, at: float) -> None:
        """Nothing is due from this moment on; the first one counts."""
        self.until = min(self.until, at)

    def due(self) -> int:
        """How many moments have come. Takes a second for some million."""
        start = self._start
        running = min(self.until, start.at + start.profile.seconds, self._paused_at or math.inf)
        whole = moments(start.profile, start.arrivals, random.Random(start.seed))
        came = itertools.takewhile((running - start.at - self._held).__ge__, share(whole, self._number, self._among))
        return sum(1 for _ in came)
