"""Whether two runs differ by more than noise. Pure.

Samples of one run depend on those next to them: the transactions of one block wait together, a slow machine slows many
blocks. Taken for independent, any two runs would "differ". So samples are gathered in stretches of time longer than
that dependence, and it is the stretches that are compared:

- the level: Mann–Whitney's U test of their medians, two-sided, by the normal approximation with correction for ties and
  continuity (Mann and Whitney, 1947), and a 95 % confidence interval of the difference of the typical ones;
- the tail: a 95 % confidence interval of the difference of the 99th percentiles of all samples.

Intervals are by the percentile bootstrap over whole stretches (Künsch, 1989), with a fixed seed: the same two runs
always give the same answer. All p-values are corrected for their number (Holm, 1979).

What differs by less than `RELEVANT` is of no matter, however certain it is."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from harness.report.series import Point, percentile

SIGNIFICANCE = 0.05
RELEVANT = 0.05
"""The least relative difference that matters."""
LEAST_STRETCHES = 8
"""Of fewer stretches nothing is said."""
RESAMPLES = 2000
TAIL_RESAMPLES = 1000
MAX_STRETCHES = 200


@dataclass(frozen=True, slots=True)
class Difference:
    """Of two runs, B less A: `a` and `b` are what was measured, `change` is relative to A (None where A's is 0), `low`
    and `high` are its confidence interval, in the unit of the samples; `p` as the test gives it, before Holm's
    correction."""

    a: float
    b: float
    low: float
    high: float
    p: float

    @property
    def change(self) -> float | None:
        return (self.b - self.a) / abs(self.a) if self.a else None


def stretches(samples: Iterable[Point], width: float, least: int) -> list[list[float]]:
    """The samples of each stretch of time of this width, in order of size; stretches with fewer than `least` are left
    out."""
    gathered: dict[int, list[float]] = {}
    for t, value in samples:
        gathered.setdefault(int(t // width), []).append(value)
    return [sorted(values) for _, values in sorted(gathered.items()) if len(values) >= least]


def level_difference(a: Sequence[float], b: Sequence[float]) -> Difference | None:
    """Of one value for each stretch. None where either run has fewer than LEAST_STRETCHES."""
    if min(len(a), len(b)) < LEAST_STRETCHES:
        return None
    low, high = bootstrap(a, b)
    return Difference(median(a), median(b), low, high, mann_whitney(a, b))


def tail_difference(a: Sequence[Sequence[float]], b: Sequence[Sequence[float]], percent: float) -> Difference | None:
    """Of a percentile of all samples of all stretches. None where either run has fewer than LEAST_STRETCHES, or so few
    samples that its percentile is the greatest of them."""
    if min(len(a), len(b)) < LEAST_STRETCHES or min(sum(map(len, a)), sum(map(len, b))) < 100 / (100 - percent):
        return None
    rng = random.Random(0)
    ours, theirs = _Tail(a, percent), _Tail(b, percent)
    found = sorted(theirs.resampled(rng) - ours.resampled(rng) for _ in range(TAIL_RESAMPLES))
    below = sum(one <= 0 for one in found)
    above = sum(one >= 0 for one in found)
    p = min(1.0, 2 * (min(below, above) + 1) / (TAIL_RESAMPLES + 1))
    return Difference(ours.measured, theirs.measured, percentile(found, 2.5), percentile(found, 97.5), p)


class _Tail:
    """A percentile, by nearest rank, of stretches that are drawn anew: it is looked for from the top, where it is."""

    def __init__(self, stretches: Sequence[Sequence[float]], percent: float) -> None:
        self._descending = sorted(
            ((value, index) for index, values in enumerate(stretches) for value in values), reverse=True
        )
        self._sizes = [len(values) for values in stretches]
        self._percent = percent
        self.measured = self._of([1] * len(stretches))

    def resampled(self, rng: random.Random) -> float:
        weights = [0] * len(self._sizes)
        for index in rng.choices(range(len(weights)), k=len(weights)):
            weights[index] += 1
        return self._of(weights)

    def _of(self, weights: Sequence[int]) -> float:
        total = sum(weight * size for weight, size in zip(weights, self._sizes, strict=True))
        above = total - max(1, math.ceil(round(self._percent / 100 * total, 6)))
        for value, index in self._descending:
            above -= weights[index]
            if above < 0:
                return value
        raise ValueError("there are no samples")


def mann_whitney(a: Sequence[float], b: Sequence[float]) -> float:
    """The two-sided p-value that both come from one distribution. Good from about eight values each."""
    n, m = len(a), len(b)
    ordered = sorted([(value, 0) for value in a] + [(value, 1) for value in b])
    rank_sum, ties, start = 0.0, 0.0, 0
    while start < len(ordered):
        end = start
        while end < len(ordered) and ordered[end][0] == ordered[start][0]:
            end += 1
        rank = (start + 1 + end) / 2  # those that are alike share the mean of their ranks
        rank_sum += rank * sum(1 for _, which in ordered[start:end] if which == 0)
        ties += (end - start) ** 3 - (end - start)
        start = end
    u = rank_sum - n * (n + 1) / 2
    total = n + m
    variance = n * m / 12 * ((total + 1) - ties / (total * (total - 1)))
    if variance <= 0:
        return 1.0
    z = max(0.0, abs(u - n * m / 2) - 0.5) / math.sqrt(variance)
    return math.erfc(z / math.sqrt(2))


def bootstrap(a: Sequence[float], b: Sequence[float], resamples: int = RESAMPLES) -> tuple[float, float]:
    """The 95 % interval of median(b) - median(a)."""
    rng = random.Random(0)
    found = sorted(median(rng.choices(b, k=len(b))) - median(rng.choices(a, k=len(a))) for _ in range(resamples))
    return percentile(found, 2.5), percentile(found, 97.5)


def holm(p_values: Sequence[float]) -> list[float]:
    """Each of them, corrected for that there are several."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected = [1.0] * len(p_values)
    greatest = 0.0
    for rank, index in enumerate(order):
        greatest = max(greatest, min(1.0, p_values[index] * (len(p_values) - rank)))
        corrected[index] = greatest
    return corrected
