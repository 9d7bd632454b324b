"""What liveness says of time in which it could not see."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable

import anyio
import pytest

from harness.api import Verdict
from tests.checks.liveness_runs import begin, end
from tests.observe.virtual_time import VirtualLoop
from tests.observe.world import World

pytestmark = pytest.mark.anyio
MakeWorld = Callable[..., World]


async def test_a_lost_connection_of_the_feed_is_no_stall_if_the_chain_went_on(make_world: MakeWorld) -> None:
    world = make_world()
    node = world.nodes["executor-0"]
    async with world.live():
        check = await begin(world)
        await world.blocks(30)
        node.script.go(up=False)
        await anyio.sleep(8)
        node.script.go(up=True)
        await world.blocks(30)
        judgement = await end(world, check)
    assert judgement.verdict is Verdict.PASS


@pytest.mark.parametrize("told", [True, False])
async def test_a_harness_that_was_held_up_does_not_blame_the_network(make_world: MakeWorld, told: bool) -> None:
    world = make_world()
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    async with world.live():
        check = await begin(world)
        await world.blocks(60)
        held, height = world.clock.wall(), world.feed.highest
        loop.jump(30)
        for second in range(1, 31):
            world.make_block(time=held + second if told else world.clock.wall())
        await world.blocks(60)
        assert world.feed.highest == height + 90
        judgement = await end(world, check)
    assert judgement.verdict is (Verdict.PASS if told else Verdict.UNKNOWN), judgement
    if not told:
        assert "may have stood still for 3" in judgement.measured
        assert "not observed all along" in judgement.measured


@pytest.mark.parametrize("told", [True, False])
async def test_a_feed_that_lost_a_node_does_not_blame_it(make_world: MakeWorld, told: bool) -> None:
    world = make_world()
    late = world.nodes["executor-0"].script
    async with world.live():
        check = await begin(world)
        await world.blocks(60)
        late.go(up=False)
        lost = len(late.chain)
        await world.blocks(30)
        late.chain = list(world.nodes["validator-0"].script.chain)
        if not told:
            late.chain[lost:] = [dataclasses.replace(block, time=0.0) for block in late.chain[lost:]]
        late.go(up=True)
        await world.blocks(60)
        judgement = await end(world, check)
    assert judgement.verdict is (Verdict.PASS if told else Verdict.UNKNOWN), judgement
    if not told:
        assert "executor-0: may have stood still" in judgement.measured


async def test_a_stall_around_a_moment_that_was_not_observed_is_one(make_world: MakeWorld) -> None:
    world = make_world()
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    async with world.live():
        check = await begin(world)
        await world.blocks(60)
        await anyio.sleep(20)
        loop.jump(6)
        await anyio.sleep(20)  # whatever had been made meanwhile would have been seen by now
        loop.jump(6)
        world.make_block()
        await world.blocks(60)
        judgement = await end(world, check)
    assert judgement.verdict is Verdict.FAIL
    assert 45 <= judgement.evidence["network_longest_stall_seconds"] <= 46.3


async def test_a_shortfall_while_the_clock_jumped_is_not_known_to_be_one(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        check = await begin(world)
        await world.blocks(60)
        world.end()
        window = world.window
        assert window.end_wall is not None
        world._window = dataclasses.replace(window, end_wall=window.end_wall + 600)  # the machine slept
        judgement = await world.evaluate(check)
    assert judgement.verdict is Verdict.UNKNOWN
    assert "made 60 of 660 promised blocks, but the controller's clock jumped by 10m" in judgement.measured
