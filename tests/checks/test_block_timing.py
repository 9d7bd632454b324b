from __future__ import annotations

import math
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from harness.api import Chain, Timing, Verdict
from harness_checks.arrivals import by_chance, distance, geometric, kolmogorov, percentile
from harness_checks.block_timing import BlockTiming, BlockTimingConfig, judge
from tests.observe.fakes import World

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


async def test_disturbed_stretches_are_left_out(make_world: MakeWorld) -> None:
    world = make_world()
    now = world_start(world)
    world.faults.windows["validator-1"] = [(now + 50, now + 60)]
    judgement = await run(world, BlockTiming(BlockTimingConfig()), [*[1.0] * 50, 10.0, *[1.0] * 40], 0.0)
    assert judgement.verdict is Verdict.PASS, judgement
    assert judgement.evidence["disturbed_intervals_left_out"] == 21


def world_start(world: World) -> float:
    return world.clock.now()
