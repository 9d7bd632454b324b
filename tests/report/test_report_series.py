"""Series are bounded, and lose no peak."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.observe.latency import Latencies
from harness.report.series import Series, grid, percentile, rates, stepped, thinned

_POINTS = st.lists(st.tuples(st.floats(0, 1e5), st.floats(-1e6, 1e6)), min_size=1, max_size=300)


@given(_POINTS, st.integers(1, 20))
def test_the_greatest_and_the_smallest_stay_and_so_does_the_end(points: list[tuple[float, float]], limit: int) -> None:
    kept = thinned(points, limit)
    values = [value for _, value in points]
    assert len(kept) <= 3 * limit
    assert set(kept) <= set(points)
    assert (min(v for _, v in kept), max(v for _, v in kept)) == (min(values), max(values))
    assert kept[-1][0] == max(t for t, _ in points)
    assert kept == sorted(kept)


def test_what_is_no_number_or_beyond_all_time_is_left_out() -> None:
    series = Series()
    for t, value in ((math.nan, 1), (1, math.inf), (1e300, 1), (1, -1e300), (2, 3)):
        series.add(t, value)
    assert series.points() == [(2, 3)]


def test_short_series_are_kept_whole() -> None:
    series = Series(100)
    for second in range(100):
        series.add(second, second % 7)
    assert len(series.points()) == 100
    assert not series.is_thinned


def test_rates_of_a_count_between_moments() -> None:
    counts = [(0.0, 0.0), (10.0, 100.0), (20.0, 100.0)]
    assert rates(counts, [0, 5, 10, 15, 20, 25]) == [(5, 10), (10, 10), (15, 0), (20, 0), (25, 0)]
    assert rates([], [0, 1]) == [(1, 0)]
    assert rates([(0.0, 5.0), (1.0, 0.0)], [0, 1]) == [(1, 0)]  # a count that falls is no negative rate


def test_the_last_value_known_at_a_moment() -> None:
    assert list(stepped([(1.0, 5.0), (3.0, 7.0)], [0, 1, 2.9, 3, 9])) == [None, 5, 5, 7, 7]


def test_a_grid_has_no_finer_steps_than_asked_for() -> None:
    assert grid(0, 10, 100, 5.0) == [0, 5, 10]
    assert len(grid(0, 10, 4)) == 5
    assert grid(5, 5, 4) == []


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=200), st.sampled_from([50, 90, 99]))
def test_percentiles_are_those_of_the_histogram(values: list[int], percent: int) -> None:
    latencies = Latencies()
    for value in values:
        latencies.record(value / 1000)
    found = percentile(sorted(values), percent) / 1000
    assert latencies.percentile(percent) == pytest.approx(found, rel=2e-3)
