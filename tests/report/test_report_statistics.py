"""What is called a difference is one: against known values, and on noise."""

from __future__ import annotations

import random
from statistics import median

import pytest

from harness.report.statistics import LEAST_STRETCHES, bootstrap, difference, holm, mann_whitney, stretches


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


def test_noise_is_not_taken_for_a_difference_though_samples_depend_on_each_other() -> None:
    rng = random.Random(3)
    found, naive, tries = 0, 0, 60
    for _ in range(tries):
        a, b = _noise(rng), _noise(rng)
        told = difference(stretches(a, 5, 3, median), stretches(b, 5, 3, median))
        assert told is not None
        found += told.p < 0.05
        naive += mann_whitney([value for _, value in a], [value for _, value in b]) < 0.05
    assert found <= 0.12 * tries
    assert naive > 0.3 * tries  # why samples are gathered


def test_a_fifth_more_is_a_difference() -> None:
    rng = random.Random(4)
    told = difference(stretches(_noise(rng), 5, 3, median), stretches(_noise(rng, 1.2), 5, 3, median))
    assert told is not None and told.change is not None
    assert told.p < 0.001
    assert told.low > 0
    assert told.change == pytest.approx(0.2, abs=0.08)


def test_nothing_is_said_of_too_few() -> None:
    assert difference([1.0] * (LEAST_STRETCHES - 1), [2.0] * 100) is None
    assert difference([1.0] * LEAST_STRETCHES, [2.0] * LEAST_STRETCHES) is not None


def test_the_same_runs_give_the_same_answer() -> None:
    a, b = [float(x % 7) for x in range(30)], [float(x % 5) for x in range(30)]
    assert bootstrap(a, b) == bootstrap(a, b)


def test_stretches_count_once_each_and_small_ones_not() -> None:
    points = [(0.0, 1.0), (0.5, 3.0), (1.0, 9.0), (5.0, 2.0), (5.1, 4.0)]
    assert stretches(points, 1.0, 2, median) == [2.0, 3.0]
