from __future__ import annotations

import asyncio
from collections.abc import Callable

import anyio
import pytest

from harness.api import NodeState, Verdict
from harness_checks.convergence import Convergence, ConvergenceConfig
from tests.observe.virtual_time import VirtualLoop
from tests.observe.world import World

pytestmark = pytest.mark.anyio
MakeWorld = Callable[..., World]


async def partition(world: World, check: Convergence) -> None:
    """Two blocks on each side, then healed; nobody has changed their mind yet."""
    await world.capture(check)
    await world.blocks(5)
    start = world.clock.now()
    for _ in range(2):
        await world.blocks(1, "validator-0", "executor-0")
        await world.blocks(1, "validator-1")
    world.faults.windows["validator-1"] = [(start, world.clock.now())]


async def test_nodes_that_come_to_one_chain_pass(make_world: MakeWorld) -> None:
    world, check = make_world(), Convergence(ConvergenceConfig())
    async with world.live():
        await partition(world, check)
        world.nodes["validator-1"].script.replace(world.nodes["validator-0"].script.chain)
        await world.blocks(6)
        judgement = await world.evaluate(check)
    assert judgement.verdict is Verdict.PASS
    assert "after healing" in judgement.measured


async def test_what_was_common_before_the_fault_is_not_enough(make_world: MakeWorld) -> None:
    world, check = make_world(), Convergence(ConvergenceConfig())
    async with world.live():
        await partition(world, check)
        judgement = await world.evaluate(check, making=False)
    assert judgement.verdict is Verdict.FAIL
    assert sorted(map(len, judgement.evidence["branches"].values())) == [1, 2]
    assert judgement.evidence["heads"]["validator-1"]["height"] == 7


async def test_nodes_apart_while_the_harness_was_held_up_are_unknown(make_world: MakeWorld) -> None:
    world, check = make_world(), Convergence(ConvergenceConfig())
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)

    async def slow() -> None:
        while True:
            loop.jump(0.3)
            await anyio.sleep(0.25)

    async with world.live():
        await partition(world, check)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(slow)
            judgement = await world.evaluate(check, making=False)
            tasks.cancel_scope.cancel()
    assert judgement.verdict is Verdict.UNKNOWN, judgement
    assert "not observed all along" in judgement.measured


async def test_too_late_fails(make_world: MakeWorld) -> None:
    world, check = make_world(), Convergence(ConvergenceConfig())
    async with world.live():
        await partition(world, check)
        await world.blocks(15, "validator-0", "executor-0")
        world.nodes["validator-1"].script.replace(world.nodes["validator-0"].script.chain)
        await world.blocks(2)
        judgement = await world.evaluate(check)
    assert judgement.verdict is Verdict.FAIL
    assert judgement.evidence["final_blocks_reverted"] == 0


async def test_who_cannot_be_asked_leaves_it_unknown(make_world: MakeWorld) -> None:
    world, check = make_world(), Convergence(ConvergenceConfig())
    async with world.live():
        await partition(world, check)
        world.nodes["validator-1"].script.go(up=False)
        judgement = await world.evaluate(check)
        assert judgement.verdict is Verdict.UNKNOWN
        assert judgement.measured == "validator-1 could not be asked"
        world.nodes["validator-1"].now_state = NodeState.STOPPED
        assert (await world.evaluate(check)).verdict is Verdict.PASS


async def test_without_faults_one_chain_passes(make_world: MakeWorld) -> None:
    world, check = make_world(), Convergence(ConvergenceConfig())
    async with world.live():
        await world.capture(check)
        await world.blocks(6)
        assert (await world.evaluate(check)).verdict is Verdict.PASS
