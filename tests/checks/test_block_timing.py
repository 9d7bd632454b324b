from __future__ import annotations

import math
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from harness.api import Chain, ClockOffset, Timing, Verdict
from harness_checks.arrivals import between_prompt, by_chance, distance, geometric, kolmogorov, percentile, student
from harness_checks.block_timing import BlockTiming, BlockTimingConfig, judge
from harness_checks.clocks import HeaderClocks
from tests.observe.world import World

pytestmark = pytest.mark.anyio
MakeWorld = Callable[..., World]


def lottery(rng: random.Random, count: int, slot: float = 0.5, f: float = 0.5) -> list[float]:
    return [slot * (1 + math.floor(math.log(1 - rng.random()) / math.log(1 - f))) for _ in range(count)]


def test_kolmogorov_gives_known_values() -> None:
    root = 100.0  # critical values of the limit distribution
    for scaled, chance in ((1.2239, 0.10), (1.3581, 0.05), (1.6276, 0.01)):
        d = scaled / (root + 0.12 + 0.11 / root)
        assert kolmogorov(d, 10_000) == pytest.approx(chance, rel=1e-3)
    assert by_chance(0.05) == pytest.approx(1.95996, rel=1e-4)
    assert distance([0.1, 0.2, 0.3], lambda x: x) == pytest.approx(0.7)
    assert geometric(1.0, 0.5)(1.0) == pytest.approx(0.75)
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0


@pytest.mark.parametrize("count", [30, 100])
def test_ten_thousand_healthy_runs_alarm_less_than_once_in_a_thousand(count: int) -> None:
    rng, config = random.Random(1), BlockTimingConfig()
    alarms = sum(
        bool(judge(lottery(rng, count), 1.0, 0.5, config, distribution=True)[1])
        for _ in range(10_000 if count == 30 else 2_000)
    )
    assert alarms < (10 if count == 30 else 2)


def test_a_pace_that_is_off_by_thirty_percent_fails() -> None:
    rng, config = random.Random(2), BlockTimingConfig()
    for pace in (0.7, 1.3):
        missed = sum(
            not judge([pace * x for x in lottery(rng, 400)], 1.0, 0.5, config, distribution=True)[1] for _ in range(100)
        )
        assert missed == 0


async def run(world: World, check: BlockTiming, intervals: list[float], slot: float) -> Any:
    world.chain = cast(Chain[Any], SimpleNamespace(timing=Timing(1.0, 3, slot)))
    async with world.live():
        await world.capture(check)
        world.begin()
        for interval in intervals:
            await anyio.sleep(interval)
            world.make_block()
            await anyio.wait_all_tasks_blocked()
        world.end()
        return await world.evaluate(check, making=False)


async def test_a_healthy_lottery_passes_and_a_slow_or_steady_one_fails(make_world: MakeWorld) -> None:
    draws = lottery(random.Random(3), 300)
    judgement = await run(make_world(), BlockTiming(BlockTimingConfig()), draws, 0.5)
    assert judgement.verdict is Verdict.PASS, judgement
    slow = await run(make_world(), BlockTiming(BlockTimingConfig()), [1.3 * x for x in draws], 0.5)
    assert slow.verdict is Verdict.FAIL
    steady = await run(make_world(), BlockTiming(BlockTimingConfig()), [1.0] * 100, 0.5)
    assert steady.verdict is Verdict.FAIL
    assert "Kolmogorov" in steady.measured


async def test_a_steady_chain_is_judged_by_mean_and_percentiles(make_world: MakeWorld) -> None:
    assert (await run(make_world(), BlockTiming(BlockTimingConfig()), [1.0] * 40, 0.0)).verdict is Verdict.PASS
    assert (await run(make_world(), BlockTiming(BlockTimingConfig()), [1.3] * 40, 0.0)).verdict is Verdict.FAIL
    strict = BlockTimingConfig.model_validate({"max": "2 blocks"})
    assert (await run(make_world(), BlockTiming(strict), [*[1.0] * 40, 3.0], 0.0)).verdict is Verdict.FAIL
    assert (await run(make_world(), BlockTiming(BlockTimingConfig()), [1.0] * 10, 0.0)).verdict is Verdict.UNKNOWN


def test_student_gives_known_quantiles() -> None:
    assert student(0.05, 10) == pytest.approx(2.2281, rel=1e-3)
    assert student(1e-4, 19) == pytest.approx(4.89746, rel=1e-3)
    assert student(1e-4, 29) == pytest.approx(4.50551, rel=1e-4)
    assert student(1e-4, 1000) == pytest.approx(by_chance(1e-4), rel=1e-2)


@pytest.mark.parametrize("shape", ["normal", "late"])
def test_ten_thousand_healthy_steady_chains_alarm_less_than_once_in_a_thousand(shape: str) -> None:
    """At the edge of the tolerance, where the test is at its weakest; half of those that are too slow would be by their
    mean alone."""
    rng, config = random.Random(4), BlockTimingConfig()

    def interval() -> float:
        return rng.gauss(1.1, 0.2) if shape == "normal" else 1.0 + rng.expovariate(10.0)

    runs = [[interval() for _ in range(40)] for _ in range(10_000)]
    assert sum(bool(judge(run, 1.0, 0.0, config)[1]) for run in runs) < 10
    assert all(judge([1.3 + 0.02 * rng.random() for _ in range(40)], 1.0, 0.0, config)[1] for _ in range(100))


def test_arrivals_that_are_late_at_an_end_do_not_change_the_pace() -> None:
    made = [float(i) for i in range(90)]
    at = [m + 0.1 for m in made]
    late = [max(a, 20.0) for a in at]  # the first ones came all together
    for arrivals in (at, late):
        pace, count = between_prompt(made, arrivals)
        assert pace == pytest.approx(1.0) and count >= 30
    lying = [1.3 * a for a in at]
    assert between_prompt(made, lying)[0] == pytest.approx(1.3)


async def test_clocks_of_proposers_are_corrected(make_world: MakeWorld) -> None:
    world = make_world()
    world.chain = cast(Chain[Any], SimpleNamespace(timing=Timing(1.0, 3)))
    check = BlockTiming(BlockTimingConfig.model_validate({"max": "2 blocks"}))
    ahead = {"validator-0": 5.0, "validator-1": -5.0}
    check._clocks = HeaderClocks(
        "proposer", {}, [{name: ClockOffset(seconds, 0.01) for name, seconds in ahead.items()}]
    )
    async with world.live():
        world.begin()
        world.feed.subscribe(lambda block: check.observe_block(world, block) and None)
        for number in range(40):
            await anyio.sleep(1.0)
            proposer = f"validator-{number % 2}"
            world.make_block(time=world.clock.wall() + ahead[proposer], proposer=proposer)
            await anyio.wait_all_tasks_blocked()
        world.end()
        corrected = await check.evaluate(world)
        check._clocks = HeaderClocks("proposer")
        as_they_are = await check.evaluate(world)
    assert corrected.verdict is Verdict.PASS, corrected
    assert corrected.evidence["clocks"]["corrected_by_seconds"] == ahead
    assert as_they_are.verdict is Verdict.FAIL
    assert as_they_are.evidence["header_times"]["max"] == pytest.approx(11)


def test_what_validators_stamp_together_is_off_by_the_median_of_their_clocks() -> None:
    measured = [{name: ClockOffset(s, 0.0) for name, s in (("a", 9.0), ("b", 1.0), ("c", 2.0))}]
    assert HeaderClocks("validators", {"a": 1, "b": 1, "c": 1}, list(measured)).ahead()["b"] == 2.0
    assert HeaderClocks("validators", {"a": 5, "b": 1, "c": 1}, list(measured)).ahead()[""] == 9.0
    assert HeaderClocks("slots", {}, list(measured)).ahead() == {}


async def test_disturbed_stretches_are_left_out(make_world: MakeWorld) -> None:
    world = make_world()
    now = world_start(world)
    world.faults.windows["validator-1"] = [(now + 50, now + 60)]
    judgement = await run(world, BlockTiming(BlockTimingConfig()), [*[1.0] * 50, 10.0, *[1.0] * 40], 0.0)
    assert judgement.verdict is Verdict.PASS, judgement
    assert judgement.evidence["disturbed_intervals_left_out"] == 21


def world_start(world: World) -> float:
    return world.clock.now()
