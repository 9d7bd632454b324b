"""Series of samples in bounded memory, and what charts are made of them. Pure.

A point is (seconds since the run began, value)."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

Point = tuple[float, float]
Points = Sequence[Point]

MAX_BUCKETS = 600
"""Stretches of time of which a series keeps the smallest and the greatest value."""
_FINEST = 1 / 64
_FARTHEST = 1e12


class Series:
    """Any number of points, of which it keeps the smallest, the greatest and the last one of each of at most `limit`
    stretches of time. These are short at first, and double whenever there get too many: no peak is ever lost.

    What is no finite number is not kept. `count` are the points seen."""

    def __init__(self, limit: int = MAX_BUCKETS) -> None:
        self.count = 0
        self.width = _FINEST
        self.limit = limit
        self._buckets: dict[int, tuple[Point, Point, Point]] = {}  # smallest, greatest, last

    def add(self, t: float, value: float) -> None:
        if not (math.isfinite(t) and math.isfinite(value) and abs(t) < _FARTHEST and abs(value) < _FARTHEST):
            return
        self.count += 1
        point = (t, value)
        self._put(int(t // self.width), (point, point, point))
        while len(self._buckets) > self.limit:
            self._double()

    def points(self) -> list[Point]:
        """Those that are kept, in order of time."""
        return sorted({point for bucket in self._buckets.values() for point in bucket})

    @property
    def is_thinned(self) -> bool:
        """Whether there are fewer than were seen, beyond what happened in one moment."""
        return self.width > _FINEST

    def _put(self, index: int, new: tuple[Point, Point, Point]) -> None:
        there = self._buckets.get(index)
        if there is not None:
            new = (
                min(there[0], new[0], key=_value),
                max(there[1], new[1], key=_value),
                max(there[2], new[2]),
            )
        self._buckets[index] = new

    def _double(self) -> None:
        self.width *= 2
        before, self._buckets = self._buckets, {}
        for index, bucket in before.items():
            self._put(index // 2, bucket)


def _value(point: Point) -> float:
    return point[1]


def thinned(points: Iterable[Point], limit: int) -> list[Point]:
    """At most about three times `limit` of them, with the smallest and the greatest of each stretch."""
    series = Series(limit)
    for t, value in points:
        series.add(t, value)
    return series.points()


def grid(start: float, end: float, count: int, at_least: float = 0.0) -> list[float]:
    """The ends of `count` equal stretches of time, or of fewer that are `at_least` so long."""
    if not end > start:
        return []
    count = max(1, min(count, int((end - start) / at_least))) if at_least > 0 else max(1, count)
    step = (end - start) / count
    return [start + step * i for i in range(count + 1)]


def stepped(points: Points, times: Iterable[float]) -> Iterator[float | None]:
    """The value that was the last one known at each of these times; None before the first."""
    for t in times:
        index = bisect_right(points, (t, math.inf)) - 1
        yield points[index][1] if index >= 0 else None


def rates(counts: Points, times: Sequence[float]) -> list[Point]:
    """How much a count grew, per second, from each of these times to the next, at its end. Between points it is taken
    to grow evenly, beyond them not at all."""
    values = [_between(counts, t) for t in times]
    return [
        (b, max(0.0, (y - x) / (b - a)))
        for (a, x), (b, y) in zip(
            zip(times, values, strict=True), zip(times[1:], values[1:], strict=True), strict=False
        )
        if b - a > _FINEST
    ]


def _between(points: Points, t: float) -> float:
    index = bisect_right(points, (t, math.inf))
    if index == 0:
        return points[0][1] if points else 0.0
    if index == len(points):
        return points[-1][1]
    (a, x), (b, y) = points[index - 1], points[index]
    return x if b <= a else x + (y - x) * (t - a) / (b - a)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """By nearest rank, as harness.observe.latency has it: one of the samples. Raises IndexError of none."""
    rank = max(1, math.ceil(round(percent / 100 * len(ordered), 6)))
    return ordered[rank - 1]
