"""Latencies of any number of samples in constant memory, in a high dynamic range histogram."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_UNIT = 1e-6  # the histogram counts whole microseconds
_LONGEST = 24 * 3600.0
_DIGITS = 3


class Latencies:
    """Seconds, kept to three significant digits; the maximum is exact. Longer than a day counts as a day."""

    def __init__(self) -> None:
        self._histogram: Any = None  # made at the first sample: its import costs time that most commands never need
        self.count = 0
        self.max = 0.0

    def record(self, seconds: float) -> None:
        """Add a sample. A negative one (clocks of one machine cannot give it) counts as nought."""
        seconds = max(0.0, seconds)
        if self._histogram is None:
            self._histogram = _histogram()
        self._histogram.record_value(max(1, round(min(seconds, _LONGEST) / _UNIT)))
        self.count += 1
        self.max = max(self.max, seconds)

    @classmethod
    def of(cls, distribution: Mapping[int, int]) -> Latencies:
        """Of samples that were counted by microseconds, to three digits."""
        found = cls()
        found.add(distribution)
        return found

    def add(self, distribution: Mapping[int, int]) -> None:
        """Add samples that were counted by microseconds."""
        if not distribution:
            return
        if self._histogram is None:
            self._histogram = _histogram()
        for value, count in distribution.items():
            self._histogram.record_value(max(1, min(value, round(_LONGEST / _UNIT))), count)
            self.count += count
        self.max = max(self.max, max(distribution) * _UNIT)

    def percentile(self, percent: float) -> float:
        """By nearest rank: of n samples in order the one numbered ceil(percent / 100 * n), so the largest of 90 for 99,
        never one between two. 0 without samples. Costs milliseconds."""
        if self._histogram is None:
            return 0.0
        rank = max(1, math.ceil(round(percent / 100 * self.count, 6)))  # 0.07 * 100 is a little more than 7
        # The histogram rounds to the nearest count by itself: asked for a whole one, it finds just that.
        value = self._histogram.get_value_at_percentile(100 * rank / self.count)
        return min(self.max, float(value) * _UNIT)

    def above(self, seconds: float) -> int:
        """How many samples were longer than this, as far as three digits tell."""
        if self._histogram is None:
            return 0
        bound = seconds / _UNIT
        return sum(
            int(step.count_added_in_this_iter_step)
            for step in self._histogram.get_recorded_iterator()
            if self._histogram.get_lowest_equivalent_value(step.value_iterated_to) > bound
        )

    def copy(self) -> Latencies:
        """One with the same samples, that grows on its own."""
        other = Latencies()
        if self._histogram is not None:
            other._histogram = _histogram()
            other._histogram.add(self._histogram)
            other.count, other.max = self.count, self.max
        return other

    def summary(self) -> Mapping[str, float]:
        """n, p50, p90, p99 and max, in seconds to the microsecond."""
        figures = {f"p{percent}": round(self.percentile(percent), 6) for percent in (50, 90, 99)}
        return {"n": self.count, **figures, "max": round(self.max, 6)}


def _histogram() -> Any:
    from hdrh.histogram import HdrHistogram

    return HdrHistogram(1, round(_LONGEST / _UNIT), _DIGITS)
