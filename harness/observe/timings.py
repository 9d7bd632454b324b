"""How long things took, of one record of submissions."""

from __future__ import annotations

import math

from harness.observe.latency import Latencies


class Timings:
    """`inclusion` and `answer` run from the intended moment, `service` from the sending, `lateness` is the sending's
    own. What was to be sent before `counts_from` (monotonic seconds) warmed things up: it is in none of them.

    `seen` is `inclusion` as it looked at first: until what was accepted was seen in a block, whatever became of that.

    `warming`: how many of the accepted are left out."""

    def __init__(self) -> None:
        self.counts_from = -math.inf
        self.warming = 0
        self.inclusion = Latencies()
        self.seen = Latencies()
        self.answer = Latencies()
        self.service = Latencies()
        self.lateness = Latencies()

    def warms(self, intended: float) -> bool:
        """Whether what was to be sent at this moment is of the warm-up."""
        return intended < self.counts_from

    def offered(self, intended: float, now: float) -> None:
        """One is sent now that was to be sent at this moment."""
        if not self.warms(intended):
            self.lateness.record(now - intended)

    def accepted(self, intended: float, sent: float | None, answered: float) -> None:
        """A node took it."""
        if self.warms(intended):
            self.warming += 1
            return
        self.answer.record(answered - intended)
        if sent is not None:
            self.service.record(answered - sent)

    def included(self, intended: float, at: float, into: Latencies | None = None) -> None:
        """It is in a block, seen at this moment: for good, or, as things stand, `into` a distribution of these."""
        if not self.warms(intended):
            (self.inclusion if into is None else into).record(at - intended)
