"""Arrivals: how many, when, and that nothing but the seed decides."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.load.arrivals import Arrivals, Profile, Segment, constant, moments, of_points, share

rates = st.floats(0, 2000, allow_nan=False)
segments = st.builds(Segment, st.floats(0.01, 20), rates, rates)
kinds: tuple[Arrivals, ...] = ("uniform", "poisson")
profiles = st.builds(lambda s: Profile(tuple(s)), st.lists(segments, min_size=1, max_size=4))


def test_a_constant_rate_is_evenly_spaced_and_begins_at_once() -> None:
    assert list(moments(constant(4.0, 1.0))) == [0.0, 0.25, 0.5, 0.75]


def test_nothing_is_due_at_rate_nought_or_in_no_time() -> None:
    assert list(moments(constant(0.0, 10.0))) == []
    assert list(moments(constant(10.0, 0.0))) == []


@given(profiles)
def test_as_many_come_as_the_rate_comes_to(profile: Profile) -> None:
    found = sum(1 for _ in itertools.islice(moments(profile), 100_000))
    assert abs(min(100_000, math.ceil(profile.amount)) - found) <= 1


@given(profiles, st.integers())
def test_moments_are_in_order_and_inside(profile: Profile, seed: int) -> None:
    for kind in kinds:
        found = list(itertools.islice(moments(profile, kind, random.Random(seed)), 3000))
        assert found == sorted(found)
        assert all(0 <= moment <= profile.seconds * (1 + 1e-9) for moment in found)


def test_a_ramp_comes_ever_faster() -> None:
    found = list(moments(Profile((Segment(10.0, 0.0, 100.0),))))
    assert len(found) == 500
    assert sum(moment < 5.0 for moment in found) == 125  # a quarter of the area is in its first half
    gaps = [b - a for a, b in itertools.pairwise(found)]
    assert gaps == sorted(gaps, reverse=True)


def test_points_make_ramps_steps_and_spikes() -> None:
    spike = of_points([(0, 10), (5, 10), (5, 100), (6, 100), (6, 10)], 20.0)
    assert [(s.seconds, s.start, s.end) for s in spike.segments] == [(5, 10, 10), (1, 100, 100), (14, 10, 10)]
    assert spike.rate(4.9) == 10
    assert spike.rate(5.5) == 100
    assert spike.rate(20) == 0
    assert spike.peak == 100
    assert sum(5 <= moment < 6 for moment in moments(spike)) == 100


def test_points_after_the_end_are_cut_off_on_their_line() -> None:
    assert of_points([(0, 0), (10, 100)], 5.0).segments == (Segment(5.0, 0, 50.0),)
    assert of_points([(3, 7)], 5.0).amount == 35


def test_points_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="in order"):
        of_points([(5, 1), (3, 1)], 10)
    with pytest.raises(ValueError, match="at least"):
        of_points([], 10)


def test_poisson_arrivals_follow_the_seed_and_have_their_variance() -> None:
    profile = constant(100.0, 200.0)
    one = list(moments(profile, "poisson", random.Random(7)))
    assert one == list(moments(profile, "poisson", random.Random(7)))
    assert one != list(moments(profile, "poisson", random.Random(8)))
    assert len(one) == pytest.approx(20_000, rel=0.03)
    gaps = [b - a for a, b in itertools.pairwise(one)]
    mean = sum(gaps) / len(gaps)
    deviation = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps))
    assert deviation == pytest.approx(mean, rel=0.03)  # an exponential distribution's are the same


@given(profiles, st.integers(1, 5))
def test_shares_put_together_are_the_whole(profile: Profile, among: int) -> None:
    whole = list(itertools.islice(moments(profile), 500))
    shares = [list(itertools.islice(share(moments(profile), n, among), 500)) for n in range(among)]
    assert sorted(itertools.chain(*shares))[: len(whole)] == whole
