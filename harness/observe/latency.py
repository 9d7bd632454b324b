"""Latencies of any number of samples in constant memory, in a high dynamic range histogram."""

from __future__ import annotations

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

    def percentile(self, percent: float) -> float:
        """The value that so many per cent of the samples do not exceed, 0 without samples. Costs milliseconds."""
        if self._histogram is None:
            return 0.0
        return min(self.max, float(self._histogram.get_value_at_percentile(percent)) * _UNIT)

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
        """n, p50, p90, p99 and max, in seconds to the tenth of a millisecond."""
        figures = {f"p{percent}": round(self.percentile(percent), 4) for percent in (50, 90, 99)}
        return {"n": self.count, **figures, "max": round(self.max, 4)}


def _histogram() -> Any:
    from hdrh.histogram import HdrHistogram

    return HdrHistogram(1, round(_LONGEST / _UNIT), _DIGITS)
