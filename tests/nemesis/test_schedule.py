"""The schedule of chaos.restart: from the seed alone, within its delays and cooldowns."""

from __future__ import annotations

import itertools
import random

from hypothesis import given
from hypothesis import strategies as st

from harness_nemesis.chaos import ChaosRestartConfig, schedule

NAMES = ["validator-0", "validator-1", "validator-2", "executor-0"]
CONFIG = ChaosRestartConfig.model_validate({"min_delay": "10s", "max_delay": "20s", "target_cooldown": "15s"})


def test_the_reference_scenario_has_its_turns() -> None:
    turns = schedule(random.Random(7), NAMES, CONFIG, 180.0)
    assert turns == schedule(random.Random(7), NAMES, CONFIG, 180.0)
    assert turns != schedule(random.Random(8), NAMES, CONFIG, 180.0)
    assert 9 <= len(turns) <= 18


@given(st.integers(), st.floats(0.1, 5), st.floats(0, 5), st.floats(0, 30), st.floats(0, 3), st.integers(1, 4))
def test_delays_and_cooldowns_are_kept(
    seed: int, shortest: float, more: float, cooldown: float, down: float, nodes: int
) -> None:
    config = ChaosRestartConfig.model_construct(
        min_delay=shortest, max_delay=shortest + more, target_cooldown=cooldown, down=down
    )
    turns = schedule(random.Random(seed), NAMES[:nodes], config, 60.0)
    for before, after in itertools.pairwise([0.0, *(turn.at for turn in turns)]):
        assert shortest - 1e-9 <= after - before <= shortest + more + 1e-9
    for name in NAMES[:nodes]:
        hits = [turn.at for turn in turns if turn.node == name]
        assert all(b - a >= down + cooldown - 1e-9 for a, b in itertools.pairwise(hits))
    for turn in turns:
        if turn.node is None:  # then all were cooling down
            recent = {t.node for t in turns if t.node and turn.at - down - cooldown < t.at < turn.at}
            assert recent == set(NAMES[:nodes])
