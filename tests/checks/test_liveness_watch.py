"""Liveness while the run goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import anyio
import pytest

from harness.api import Verdict, Violation
from tests.checks.liveness_runs import begin
from tests.observe.virtual_time import VirtualLoop
from tests.observe.world import World

pytestmark = pytest.mark.anyio
MakeWorld = Callable[..., World]


async def test_a_network_that_goes_on_is_not_violated(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        check = await begin(world)
        await world.blocks(60)
        assert await check.watch(world) is None
        await anyio.sleep(15)  # the limit is 16
        assert await check.watch(world) is None


async def test_a_stall_is_seen_while_it_lasts(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        check = await begin(world)
        await world.blocks(60)
        await anyio.sleep(17)
        violation = await check.watch(world)
        assert isinstance(violation, Violation)
        assert violation.message == "network: stood still for 17.5s"
        assert set(violation.evidence) == {"network", *world.nodes}


async def test_a_node_that_stands_still_alone_is_named(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        check = await begin(world)
        await world.blocks(17, "validator-0", "executor-0")
        violation = await check.watch(world)
        assert violation is not None and violation.message.startswith("validator-1: stood still for 17")


async def test_a_stall_under_more_faults_than_are_tolerated_is_excused(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        check = await begin(world, recovery_timeout="10s")
        await world.blocks(60)
        now = world.clock.now()
        for name in ("validator-0", "validator-1"):
            world.faults.windows[name] = [(now, None)]
        await anyio.sleep(100)
        assert await check.watch(world) is None
        for name in ("validator-0", "validator-1"):
            world.faults.windows[name] = [(now, now + 100)]
        await anyio.sleep(30)  # 10 to recover, and 16 more
        violation = await check.watch(world)
        assert violation is not None and violation.message.startswith("network: stood still for ")


async def test_a_stall_on_a_machine_that_is_too_slow_for_the_harness_itself_is_unknown(make_world: MakeWorld) -> None:
    world = make_world()
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    async with world.live():
        check = await begin(world)
        await world.blocks(60)
        for _ in range(60):
            loop.jump(0.3)
            await anyio.sleep(0.25)
        assert await check.watch(world) is None
        await world.blocks(30)
        world.end()
        judgement = await world.evaluate(check)
    assert judgement.verdict is Verdict.UNKNOWN, judgement
    assert "may have stood still for 34s" in judgement.measured


async def test_a_harness_that_was_held_up_raises_no_alarm(make_world: MakeWorld) -> None:
    world = make_world()
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    async with world.live():
        check = await begin(world)
        await world.blocks(60)
        held = world.clock.wall()
        loop.jump(30)
        for second in range(1, 31):
            world.make_block(time=held + second)
        assert check._stalled(world) is None  # before anything of it was read
        assert await check.watch(world) is None
