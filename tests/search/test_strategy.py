"""Where a search probes, and what it finds: against servers whose limit is known."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.search.interval import limit_interval, pass_chance
from harness.search.strategy import Bounds, End, Ending, Next, Outcome, Trial, contradictions, decide

Server = Callable[[float], Outcome]


def search(bounds: Bounds, server: Server, trials: tuple[Trial, ...] = ()) -> tuple[End, tuple[Trial, ...]]:
    while isinstance(step := decide(bounds, trials), Next):
        assert bounds.start <= step.rate <= bounds.stop
        trials = (*trials, Trial(step.rate, server(step.rate)))
        assert len(trials) <= bounds.max_probes
    return step, trials


def sharp(limit: float) -> Server:
    return lambda rate: Outcome.PASS if rate <= limit else Outcome.FAIL


def noisy(limit: float, width: float, seed: int) -> Server:
    rng = random.Random(seed)
    return lambda rate: (
        Outcome.PASS if rng.random() < 1 / (1 + math.exp(math.log(rate / limit) / width)) else Outcome.FAIL
    )


@given(limit=st.floats(1.0, 9_000.0), precision=st.sampled_from([0.01, 0.05, 0.2]), repeats=st.integers(1, 5))
@settings(max_examples=150, deadline=None)
def test_a_sharp_limit_is_found_within_precision(limit: float, precision: float, repeats: int) -> None:
    bounds = Bounds(1.0, 10_000.0, precision, repeats, max_probes=200)
    end, trials = search(bounds, sharp(limit))
    assert end.ending is Ending.FOUND and end.passed and end.failed
    assert end.passed.rate <= limit < end.failed.rate
    assert end.failed.rate <= end.passed.rate * (1 + precision) * 1.001  # rates have four digits
    assert not contradictions(bounds, trials)


@given(limit=st.floats(20.0, 2_000.0), seed=st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_a_noisy_limit_is_found_nearby(limit: float, seed: int) -> None:
    end, _ = search(Bounds(5.0, 5_000.0, 0.05, 5, max_probes=200), noisy(limit, 0.05, seed))
    assert end.ending is Ending.FOUND and end.passed and end.failed
    assert end.failed.rate > 0.7 * limit and end.passed.rate < 1.4 * limit


def test_the_interval_holds_the_limit_about_as_often_as_it_says() -> None:
    held = 0
    for seed in range(30):
        bounds = Bounds(5.0, 1_000.0, 0.05, 3, max_probes=200)
        _, trials = search(bounds, noisy(100.0, 0.08, seed))
        low, high = limit_interval(trials, bounds.start, bounds.stop)
        held += low <= 100.0 <= high
    assert held >= 25, held


def test_more_repeats_tell_more() -> None:
    few = [Trial(90.0, Outcome.PASS), Trial(110.0, Outcome.FAIL)]
    narrow, wide = (limit_interval(few * times, 10.0, 1000.0) for times in (20, 1))
    assert narrow[1] / narrow[0] < wide[1] / wide[0]


@given(limit=st.floats(2.0, 900.0), cut=st.integers(0, 30))
@settings(max_examples=60, deadline=None)
def test_a_search_that_was_broken_off_goes_on_as_if_it_had_not_been(limit: float, cut: int) -> None:
    bounds = Bounds(1.0, 1_000.0)
    whole = search(bounds, sharp(limit))
    assert search(bounds, sharp(limit), whole[1][:cut]) == whole


def test_bounds_are_told() -> None:
    assert search(Bounds(10.0, 80.0), sharp(1e9))[0].ending is Ending.ABOVE
    assert search(Bounds(10.0, 80.0), sharp(5.0))[0].ending is Ending.BELOW
    few, _ = search(Bounds(1.0, 1_000.0, max_probes=8), sharp(700.0))
    assert few.ending is Ending.PROBES and few.passed and few.passed.rate == 128.0
    late = decide(Bounds(1.0, 1_000.0, max_seconds=60.0), [Trial(1.0, Outcome.PASS)], 61.0)
    assert isinstance(late, End) and late.ending is Ending.TIME


def test_a_generator_that_cannot_keep_up_is_no_limit_of_the_network() -> None:
    end, _ = search(Bounds(10.0, 1_000.0), lambda rate: Outcome.PASS if rate < 100 else Outcome.GENERATOR)
    assert end.ending is Ending.GENERATOR and end.passed and 90 < end.passed.rate < 100
    # where the network gives in before, it is found all the same
    end, _ = search(
        Bounds(10.0, 1_000.0),
        lambda rate: Outcome.PASS if rate < 50 else Outcome.FAIL if rate < 100 else Outcome.GENERATOR,
    )
    assert end.ending is Ending.FOUND and end.passed and end.failed and end.failed.rate < 56


def test_one_unlucky_probe_does_not_decide() -> None:
    outcomes = {40.0: [Outcome.FAIL, Outcome.PASS, Outcome.PASS]}

    def server(rate: float) -> Outcome:
        return outcomes[rate].pop(0) if outcomes.get(rate) else sharp(300.0)(rate)

    end, _ = search(Bounds(10.0, 1_000.0), server)
    assert end.passed and 280 < end.passed.rate <= 300


def test_a_lucky_ramp_is_taken_back_and_told() -> None:
    """80 passed once and is the highest that passes: it is looked at again, and the search goes on below."""
    lucky = [Outcome.PASS]

    def server(rate: float) -> Outcome:
        return lucky.pop() if rate == 80.0 and lucky else sharp(50.0)(rate)

    bounds = Bounds(10.0, 1_000.0)
    end, trials = search(bounds, server)
    assert end.passed and end.failed and 47 < end.passed.rate <= 50 < end.failed.rate
    assert any(text.startswith("80 passed 1 of 3") for text in contradictions(bounds, trials))


@pytest.mark.parametrize(
    ("passed", "of", "low", "high"), [(3, 3, 0.2924, 1.0), (0, 3, 0.0, 0.7076), (2, 3, 0.0943, 0.9916)]
)
def test_exact_intervals_of_few_repeats(passed: int, of: int, low: float, high: float) -> None:
    """As tables of Clopper and Pearson's have them."""
    assert pass_chance(passed, of) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))
