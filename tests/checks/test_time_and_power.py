"""Stretches of time, the power there was in them, and the trace of a node's progress."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from harness_checks.power import Power
from harness_checks.stretches import Stretch, common, joined
from harness_checks.trace import Trace, observed


def test_power_over_time() -> None:
    power = Power({"a": 2, "b": 1, "c": 1}, {"a": [Stretch(0, 10)], "b": [Stretch(5, math.inf)], "c": []})
    assert power.share(Stretch(-10, 0)) == 1.0
    assert power.share(Stretch(0, 5)) == 0.5
    assert power.share(Stretch(0, 10)) == pytest.approx(0.375)
    assert power.share(Stretch(20, 30)) == 0.75
    assert power.short(Fraction(1, 2)) == [Stretch(0, 10)]
    assert power.short(Fraction(3, 4)) == [Stretch(5, 10)]
    assert power.short(Fraction(1, 4)) == [Stretch(0, math.inf)]
    assert Power({"a": 0}, {"a": [Stretch(0, 10)]}).short(Fraction(1, 3)) == []


def test_stretches_without_others() -> None:
    stretch = Stretch(0, 10)
    assert stretch.without([]) == [stretch]
    assert stretch.without([Stretch(3, 4), Stretch(2, 3), Stretch(8, math.inf)]) == [Stretch(0, 2), Stretch(4, 8)]
    assert stretch.without([Stretch(-1, 11)]) == []
    assert Stretch(5, 4).without([]) == []
    assert joined([Stretch(2, 3), Stretch(0, 1)], slack=1) == [Stretch(0, 3)]
    assert common([Stretch(0, 4), Stretch(6, 9)], [Stretch(3, 7)]) == [Stretch(3, 4), Stretch(6, 7)]


def test_of_a_gap_that_ends_out_of_sight_only_the_beginning_is_certain() -> None:
    gap = Stretch(0, 30)
    assert observed(gap, []) == gap
    assert observed(gap, [Stretch(5, 20)]) == gap  # what was made then would have been seen at 20
    assert observed(gap, [Stretch(20, 29.8)]) == Stretch(0, 20)
    assert observed(gap, [Stretch(20, 25), Stretch(25.2, 40)]) == Stretch(0, 20)
    assert observed(gap, [Stretch(-5, 40)]) == Stretch(0, 0)


def test_a_trace_keeps_what_is_notable() -> None:
    trace = Trace(0.0, 10, notable=4.0)
    for at, height in ((1.0, 11), (2.0, 12), (9.0, 13), (10.0, 12), (10.5, 13), (11.0, 14)):
        trace.saw(at, height, keeps_up=True, made=at)
    assert trace.gaps(12.0) == [Stretch(2.0, 9.0), Stretch(11.0, 12.0)]
    assert trace.recovery(1.5) == 0.0  # it kept up all along
    assert trace.recovery(5.0) == 4.0  # the next sign of life
    assert trace.recovery(12.0) is None
    trace.saw(12.0, 15, keeps_up=False, made=12.0)
    trace.saw(13.0, 20, keeps_up=True, made=13.0)
    assert trace.recovery(11.5) == 1.5
