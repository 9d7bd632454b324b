from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from harness.api import Span, Verdict
from harness_checks.recovery import RISES, Recovery, RecoveryConfig
from tests.observe.virtual_time import VirtualLoop
from tests.observe.world import World

pytestmark = pytest.mark.anyio
MakeWorld = Callable[..., World]


async def outage(world: World, check: Recovery, down: int = 10) -> None:
    await world.capture(check)
    world.begin()
    await world.blocks(5)
    start = world.clock.now()
    world.nodes["validator-1"].script.go(up=False)
    await world.blocks(down)
    world.faults.windows["validator-1"] = [(start, world.clock.now())]


def back(world: World) -> None:
    world.nodes["validator-1"].script.chain = list(world.nodes["validator-0"].script.chain)
    world.nodes["validator-1"].script.go(up=True)


async def test_a_node_that_comes_back_passes(make_world: MakeWorld) -> None:
    world, check = make_world(), Recovery(RecoveryConfig())
    async with world.live():
        await outage(world, check)
        await world.blocks(3)
        back(world)
        await world.blocks(5)
        judgement = await world.evaluate(check)
    assert judgement.verdict is Verdict.PASS, judgement
    times = judgement.evidence["faults"][0]["nodes"]["validator-1"]
    assert 3 <= times["answer_seconds"] <= 5
    assert 3 <= times["caught_up_seconds"] <= 5


async def test_a_node_that_never_answers_again_fails(make_world: MakeWorld) -> None:
    world, check = make_world(), Recovery(RecoveryConfig())
    async with world.live():
        await outage(world, check)
        judgement = await world.evaluate(check)
    assert judgement.verdict is Verdict.FAIL
    assert "validator-1: answer never" in judgement.measured


async def test_a_node_that_answers_but_does_not_catch_up_fails(make_world: MakeWorld) -> None:
    world, check = make_world(), Recovery(RecoveryConfig())
    async with world.live():
        await outage(world, check)
        world.nodes["validator-1"].script.go(up=True)
        await world.blocks(40, "validator-0", "executor-0")
        judgement = await world.evaluate(check, making=False)
    assert judgement.verdict is Verdict.FAIL
    assert "validator-1: caught up never" in judgement.measured


async def test_a_network_that_makes_no_block_after_healing_fails(make_world: MakeWorld) -> None:
    world, check = make_world(), Recovery(RecoveryConfig())
    async with world.live():
        await outage(world, check)
        back(world)
        judgement = await world.evaluate(check, making=False)
    assert judgement.verdict is Verdict.FAIL
    assert any(text.startswith("network: first block never") for text in judgement.evidence["wrong"])


async def test_what_took_too_long_while_the_harness_was_held_up_is_unknown(make_world: MakeWorld) -> None:
    world, check = make_world(), Recovery(RecoveryConfig(answer_within=Span(5.0)))
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    async with world.live():
        await outage(world, check)
        back(world)
        loop.jump(30)
        await world.blocks(5)
        judgement = await world.evaluate(check)
    assert judgement.verdict is Verdict.UNKNOWN, judgement
    assert "not observed all along" in judgement.measured


async def test_it_is_seen_while_the_run_goes_on(make_world: MakeWorld) -> None:
    world, check = make_world(), Recovery(RecoveryConfig(answer_within=Span(10.0)))
    async with world.live():
        await outage(world, check)
        await world.blocks(5)
        assert await check.watch(world) is None
        await world.blocks(8)
        violation = await check.watch(world)
    assert violation is not None
    assert "validator-1: answer never" in violation.message


async def test_an_early_fault_is_remembered_however_long_the_run(make_world: MakeWorld) -> None:
    world, check = make_world(), Recovery(RecoveryConfig())
    async with world.live():
        await outage(world, check)
        back(world)
        await world.blocks(RISES + 100)
        judgement = await world.evaluate(check)
    assert judgement.verdict is Verdict.PASS, judgement
    assert len(check._rises) == RISES
    assert judgement.evidence["faults"][0]["first_block_seconds"] == pytest.approx(1, abs=0.1)


async def test_without_faults_nothing_is_known(make_world: MakeWorld) -> None:
    world, check = make_world(), Recovery(RecoveryConfig())
    async with world.live():
        await world.capture(check)
        world.begin()
        await world.blocks(3)
        assert (await world.evaluate(check)).verdict is Verdict.UNKNOWN


async def test_who_is_still_away_by_another_fault_is_judged_from_the_healing_of_that(make_world: MakeWorld) -> None:
    """As one that has left is, when it is brought back."""
    world, check = make_world(), Recovery(RecoveryConfig(answer_within=Span(10.0)))
    async with world.live():
        await outage(world, check)
        (start, left) = world.faults.windows["validator-1"][0]
        world.faults.windows["validator-1"] = [(start, left), (start, None)]
        await world.blocks(20)
        assert await check.watch(world) is None
        world.faults.windows["validator-1"] = [(start, left), (start, world.clock.now())]
        back(world)
        await world.blocks(5)
        judgement = await world.evaluate(check)
    assert judgement.verdict is Verdict.PASS, judgement
    assert judgement.evidence["faults"][0]["nodes"] == {}
    assert judgement.evidence["faults"][1]["nodes"]["validator-1"]["answer_seconds"] < 5
