"""The schedules of nemeses: from the seed alone, within their delays and cooldowns."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from harness.api import FaultTurn
from harness_nemesis.chaos import ChaosRestart
from harness_nemesis.ending import EndingConfig, Kill
from harness_nemesis.pause import Pause
from harness_nemesis.schedule import Choice, Pace, schedule

NAMES = ["validator-0", "validator-1", "validator-2", "executor-0"]
KILL = Choice(Kill, EndingConfig(), 0.0)
TIMES = st.floats(0, 30)


def pause_like(duration: float, weight: float) -> Choice:
    return Choice(Pause, Pause.Config(), duration, weight)


def told(turns: Sequence[FaultTurn]) -> list[tuple[float, str, tuple[str, ...], float]]:
    return [(turn.at, turn.fault.name, turn.targets, turn.duration) for turn in turns]


def test_the_reference_scenario_has_its_turns() -> None:
    restart = ChaosRestart(ChaosRestart.Config())
    pace = Pace(10.0, 20.0, 15.0)
    turns = schedule(random.Random(7), NAMES, restart.choices(), pace, 180.0)
    assert turns == schedule(random.Random(7), NAMES, restart.choices(), pace, 180.0)
    assert told(turns) != told(schedule(random.Random(8), NAMES, restart.choices(), pace, 180.0))
    assert 9 <= len(turns) <= 18
    assert {turn.fault.name for turn in turns} == {"restart"}


@given(st.integers(), st.floats(0.1, 5), st.floats(0, 5), TIMES, TIMES, st.integers(1, 4), st.floats(0.1, 10))
def test_delays_and_cooldowns_are_kept(
    seed: int, shortest: float, more: float, cooldown: float, held: float, nodes: int, weight: float
) -> None:
    names, choices = NAMES[:nodes], [KILL, pause_like(held, weight)]
    pace = Pace(shortest, shortest + more, cooldown)
    turns = schedule(random.Random(seed), names, choices, pace, 60.0)
    assert told(turns) == told(schedule(random.Random(seed), names, choices, pace, 60.0))
    for before, after in itertools.pairwise([0.0, *(turn.at for turn in turns)]):
        assert shortest - 1e-9 <= after - before <= shortest + more + 1e-9
    for name in names:
        hits = [turn for turn in turns if name in turn.targets]
        assert all(b.at - a.at >= a.duration + cooldown - 1e-9 for a, b in itertools.pairwise(hits))
    for turn in turns:
        assert set(turn.targets) <= set(names)
        if not turn.targets:  # then all were cooling down
            busy = {
                name for one in turns for name in one.targets if one.at < turn.at < one.at + one.duration + cooldown
            }
            assert busy == set(names)


def test_the_heavier_fault_comes_more_often() -> None:
    turns = schedule(random.Random(1), NAMES, [KILL, pause_like(0.0, 9.0)], Pace(0.1, 0.2, 0.0), 60.0)
    pauses = sum(turn.fault is Pause for turn in turns)
    assert 0.8 < pauses / len(turns) < 1.0


def test_longer_faults_than_delays_overlap_on_other_nodes() -> None:
    turns = schedule(random.Random(1), NAMES, [pause_like(10.0, 1.0)], Pace(1.0, 2.0, 0.0), 60.0)
    overlapping = [
        (a, b) for a, b in itertools.combinations(turns, 2) if a.targets and b.targets and b.at < a.at + a.duration
    ]
    assert overlapping
    assert all(not set(a.targets) & set(b.targets) for a, b in overlapping)
