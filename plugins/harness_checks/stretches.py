"""Stretches of time, and what is left of one without others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Stretch:
    """From one moment to another (monotonic seconds); `end` may be infinite."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.start

    def within(self, other: Stretch) -> Stretch:
        """The part of it in the other; of negative length where there is none."""
        return Stretch(max(self.start, other.start), min(self.end, other.end))

    def without(self, others: Iterable[Stretch]) -> list[Stretch]:
        """The parts of it that are in none of the others, in order."""
        left, start = [], self.start
        for other in joined(others):
            if start < min(other.start, self.end):
                left.append(Stretch(start, min(other.start, self.end)))
            start = max(start, other.end)
        if start < self.end:
            left.append(Stretch(start, self.end))
        return left


def joined(stretches: Iterable[Stretch], slack: float = 0.0) -> list[Stretch]:
    """The same time as few stretches in order; those that are at most `slack` seconds apart become one."""
    result: list[Stretch] = []
    for stretch in sorted(stretches):
        if result and stretch.start <= result[-1].end + slack:
            result[-1] = Stretch(result[-1].start, max(result[-1].end, stretch.end))
        else:
            result.append(stretch)
    return result


def common(first: Iterable[Stretch], second: Iterable[Stretch]) -> list[Stretch]:
    """The time that is in both. Each is in order and does not overlap itself."""
    second = list(second)
    parts = (one.within(other) for one in first for other in second)
    return [part for part in parts if part.seconds > 0]
