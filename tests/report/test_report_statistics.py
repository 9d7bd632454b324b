"""What is called a difference is one: against known values, and on noise."""

from __future__ import annotations

import random
from statistics import median

import pytest

from harness.report.series import percentile
from harness.report.statistics import (
    LEAST_STRETCHES,
    bootstrap,
    holm,
    level_difference,
    mann_whitney,
    stretches,
    tail_difference,
)


def test_mann_whitney_is_that_of_the_textbooks() -> None:
    # Ages at diagnosis, males and females: U = 17, p = 0.1113 by the normal approximation, corrected for continuity.
    assert mann_whitney([19, 22, 16, 29, 24], [20, 11, 17, 12]) == pytest.approx(0.11134688653314041)


def test_ties_are_corrected_for() -> None:
    # By hand: ranks 2, 2, 2, 5, 7 of a and 5, 5 of b; U = 18 - 15 = 3; ties 24 + 24; variance 10 / 12 * (8 - 48 / 42).
    z = (abs(3 - 5) - 0.5) / (10 / 12 * (8 - 48 / 42)) ** 0.5
    import math

    assert mann_whitney([1, 1, 1, 2, 3], [2, 2]) == pytest.approx(math.erfc(z / math.sqrt(2)))
    assert mann_whitney([1.0] * 9, [1.0] * 9) == 1.0


def test_holm_is_stricter_the_more_there_are() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def _noise(rng: random.Random, level: float = 1.0) -> list[tuple[float, float]]:
    """Two minutes of ten samples a second; those of a second are nearly alike, as transactions of one block are."""
    points = []
    for second in range(120):
        common = rng.gauss(level, 0.2)
        points += [(second + index / 10, common + rng.gauss(0, 0.01)) for index in range(10)]
    return points


def _levels(points: list[tuple[float, float]]) -> list[float]:
    return [median(one) for one in stretches(points, 5, 3)]


def test_the_tail_is_that_of_all_samples_and_its_noise_that_of_stretches() -> None:
    rng = random.Random(5)
    found = 0
    for _ in range(20):
        told = tail_difference(stretches(_noise(rng), 5, 1), stretches(_noise(rng), 5, 1), 99)
        assert told is not None
        found += told.p < 0.05 and not told.low <= 0 <= told.high
    assert found <= 4
    calm = _noise(rng)
    burst = [(t, value + 10 * (int(t) % 20 == 0)) for t, value in calm]  # one second of twenty waits
    told = tail_difference(stretches(calm, 5, 1), stretches(burst, 5, 1), 99)
    assert told is not None and told.p < 0.01 and told.low > 5
    assert told.a == percentile(sorted(value for _, value in calm), 99)
    level = level_difference(_levels(calm), _levels(burst))
    assert level is not None and level.low <= 0 <= level.high  # where the level says nothing of it


def test_noise_is_not_taken_for_a_difference_though_samples_depend_on_each_other() -> None:
    rng = random.Random(3)
    found, naive, tries = 0, 0, 60
    for _ in range(tries):
        a, b = _noise(rng), _noise(rng)
        told = level_difference(_levels(a), _levels(b))
        assert told is not None
        found += told.p < 0.05
        naive += mann_whitney([value for _, value in a], [value for _, value in b]) < 0.05
    assert found <= 0.12 * tries
    assert naive > 0.3 * tries  # why samples are gathered


def test_a_fifth_more_is_a_difference() -> None:
    rng = random.Random(4)
    told = level_difference(_levels(_noise(rng)), _levels(_noise(rng, 1.2)))
    assert told is not None and told.change is not None
    assert told.p < 0.001
    assert told.low > 0
    assert told.change == pytest.approx(0.2, abs=0.08)


def test_nothing_is_said_of_too_few() -> None:
    assert level_difference([1.0] * (LEAST_STRETCHES - 1), [2.0] * 100) is None
    assert level_difference([1.0] * LEAST_STRETCHES, [2.0] * LEAST_STRETCHES) is not None


def test_the_same_runs_give_the_same_answer() -> None:
    a, b = [float(x % 7) for x in range(30)], [float(x % 5) for x in range(30)]
    assert bootstrap(a, b) == bootstrap(a, b)


def test_stretches_count_once_each_and_small_ones_not() -> None:
    points = [(0.0, 1.0), (0.5, 3.0), (1.0, 9.0), (5.0, 2.0), (5.1, 4.0)]
    assert stretches(points, 1.0, 2) == [[1.0, 3.0], [2.0, 4.0]]
