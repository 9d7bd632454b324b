"""How the intervals of a block lottery are distributed, and a test of whether measured ones are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist


def geometric(mean: float, slot: float) -> Callable[[float], float]:
    """The distribution function of intervals of a lottery: each slot has a block with probability slot/mean, so an
    interval is k slots with probability f(1-f)^(k-1). Without slots (0) it is the limit, exponential."""
    if slot <= 0:
        return lambda x: 1.0 - math.exp(-max(0.0, x) / mean)
    miss = 1.0 - min(1.0, slot / mean)
    return lambda x: 1.0 - miss ** max(0.0, math.floor(x / slot + 1e-6))


def deviation(mean: float, slot: float) -> float:
    """Standard deviation of one such interval."""
    return mean * math.sqrt(max(0.0, 1.0 - slot / mean))


def distance(values: Sequence[float], promised: Callable[[float], float], slot: float = 0.0) -> float:
    """Kolmogorov's D: the greatest distance between the empirical and the promised distribution function. With slots
    both are steps, which are compared on the slots only."""
    ordered, count = sorted(values), len(values)
    if slot > 0:
        last = math.ceil(ordered[-1] / slot)
        slots = [round(value / slot) for value in ordered]
        below = [0] * (last + 2)
        for number in slots:
            below[min(max(number, 0), last + 1)] += 1
        greatest, sofar = 0.0, 0
        for number, here in enumerate(below):
            sofar += here
            greatest = max(greatest, abs(sofar / count - promised(number * slot)))
        return greatest
    return max(max((i + 1) / count - promised(x), promised(x) - i / count) for i, x in enumerate(ordered))


def kolmogorov(distance: float, count: int) -> float:
    """The chance of a greater D if the promise is kept: Kolmogorov's limit distribution with Stephens' correction for
    few values (M. A. Stephens, J. Roy. Stat. Soc. B 32, 1970; Numerical Recipes, 14.3). For distributions with steps
    it is an upper bound (Conover 1972): the test is conservative there."""
    root = math.sqrt(count)
    scaled = (root + 0.12 + 0.11 / root) * distance
    if scaled < 0.2:
        return 1.0
    total = 2 * sum((1 if k % 2 else -1) * math.exp(-2 * k * k * scaled * scaled) for k in range(1, 101))
    return min(1.0, max(0.0, total))


def by_chance(significance: float) -> float:
    """So many standard errors a healthy mean exceeds, to either side, with this probability."""
    return NormalDist().inv_cdf(1 - significance / 2)


def student(significance: float, freedom: int) -> float:
    """The same where the standard deviation is not known but estimated, with so many degrees of freedom: Student's t,
    by the expansion of Abramowitz & Stegun, 26.7.5 (within 0.1 % from 19 degrees on at 1e-4)."""
    z = by_chance(significance)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum((term / freedom**power for power, term in enumerate(terms, start=1)), 0.0)


def between_prompt(made: Sequence[float], at: Sequence[float]) -> tuple[float, int]:
    """The mean interval by arrival, and of how many intervals: between the promptest arrival of the first third and
    that of the last. `made` and `at` are when blocks say that they were made, and when they came.

    What held up an observer adds to delays, and never takes from them: of arrivals near each end the least delayed
    says most (the minimum filter of NTP's clients, RFC 5905, §10). Blocks that lie about their time, ever more, have
    ever more delay everywhere, and do not get away with it."""
    third = max(1, len(at) // 3)
    first = min(range(third), key=lambda i: at[i] - made[i])
    last = min(range(len(at) - third, len(at)), key=lambda i: at[i] - made[i])
    return (at[last] - at[first]) / (last - first), last - first


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
