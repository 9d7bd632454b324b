"""How far another machine's clock is from ours, by asking it again and again. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

DRIFT = 1e-4
"""Seconds a second by which two clocks may drift apart: common quartz is good for half of it."""
KEPT = 16


@dataclass(frozen=True, slots=True)
class Asking:
    """`asked` and `heard` are our monotonic seconds around `theirs`, what the other clock said."""

    asked: float
    theirs: float
    heard: float

    @property
    def offset(self) -> float:
        """What to add to our seconds to get theirs, if it was said half-way (F. Cristian, "Probabilistic clock
        synchronization", 1989)."""
        return self.theirs - (self.asked + self.heard) / 2

    def bound(self, now: float) -> float:
        """By how much that may be wrong at most, by now."""
        return (self.heard - self.asked) / 2 + DRIFT * max(0.0, now - self.heard)


class Offset:
    """Of one clock. One that was never asked is our own."""

    def __init__(self) -> None:
        self._askings: deque[Asking] = deque(maxlen=KEPT)

    def add(self, asking: Asking) -> None:
        self._askings.append(asking)

    @property
    def known(self) -> bool:
        """Whether it was ever asked."""
        return bool(self._askings)

    def at(self, now: float) -> tuple[float, float]:
        """What to add to our seconds to get theirs, and by how much that may be wrong: by the answer which is worth
        most *now*, a quick one of some time ago, or a slower one of just now."""
        if not self._askings:
            return 0.0, 0.0
        best = min(self._askings, key=lambda asking: asking.bound(now))
        return best.offset, best.bound(now)

    @property
    def round_trip(self) -> float:
        """Seconds of the slowest answer that is remembered."""
        return max((asking.heard - asking.asked for asking in self._askings), default=0.0)
