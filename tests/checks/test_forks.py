from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest

from harness.api import NoConfig, NodeState, Verdict
from harness_checks.forks import NoForks
from tests.observe.world import World

pytestmark = pytest.mark.anyio
MakeWorld = Callable[..., World]


async def test_agreeing_nodes_pass(make_world: MakeWorld) -> None:
    world = make_world()
    check = NoForks(NoConfig())
    async with world.live():
        await world.capture(check)
        await world.blocks(20)
        judgement = await world.evaluate(check)
    assert judgement.verdict is Verdict.PASS
    assert judgement.measured == "17 heights compared, all alike"
    assert world.violations == []


async def test_a_fork_beyond_finality_fails_and_is_reported_when_it_is_seen(make_world: MakeWorld) -> None:
    world = make_world()
    check = NoForks(NoConfig())
    async with world.live():
        await world.capture(check)
        await world.blocks(10)
        for _ in range(8):  # two halves that do not hear of each other
            await world.blocks(1, "validator-0", "executor-0")
            await world.blocks(1, "validator-1")
        assert len(world.violations) == 1
        evidence = world.violations[0].evidence
        assert evidence["height"] == 11
        assert sorted(map(len, evidence["blocks"].values())) == [1, 2]
        assert "height 11" in world.violations[0].message
        judgement = await world.evaluate(check)
    assert judgement.verdict is Verdict.FAIL
    assert "final blocks differ at height 11" in judgement.measured
    assert "validator-1" in judgement.measured
    assert judgement.evidence["conflict_count"] == 5


async def test_a_fork_within_finality_is_none(make_world: MakeWorld) -> None:
    world = make_world()
    check = NoForks(NoConfig())
    async with world.live():
        await world.capture(check)
        await world.blocks(10)
        await world.blocks(2, "validator-1")
        await world.blocks(3, "validator-0", "executor-0")
        world.nodes["validator-1"].script.replace(world.nodes["validator-0"].script.chain)
        await world.blocks(10)
        judgement = await world.evaluate(check)
    assert judgement.verdict is Verdict.PASS
    assert judgement.evidence["reorganisations"]["validator-1"] == 1


async def test_a_fork_before_the_drive_counts(make_world: MakeWorld) -> None:
    world = make_world()
    check = NoForks(NoConfig())
    async with world.live():
        await world.blocks(6, "validator-0", "executor-0")
        await world.blocks(6, "validator-1")
        await world.capture(check)
        judgement = await world.evaluate(check)
    assert judgement.verdict is Verdict.FAIL


async def test_without_final_blocks_of_two_nodes_nothing_is_known(make_world: MakeWorld) -> None:
    world = make_world()
    check = NoForks(NoConfig())
    async with world.live():
        await world.capture(check)
        world.nodes["validator-1"].script.go(up=False)
        world.nodes["executor-0"].script.go(up=False)
        await world.blocks(20)
        judgement = await world.evaluate(check, making=False)
    assert judgement.verdict is Verdict.UNKNOWN
    assert judgement.evidence["final_blocks_seen"] == {"validator-0": 17, "validator-1": 0, "executor-0": 0}


async def test_a_node_that_should_be_up_and_shows_nothing_leaves_it_unknown(make_world: MakeWorld) -> None:
    world = make_world()
    check = NoForks(NoConfig())
    async with world.live():
        await world.capture(check)
        world.nodes["executor-0"].script.go(up=False)
        await world.blocks(20)
        judgement = await world.evaluate(check)
        assert judgement.verdict is Verdict.UNKNOWN
        assert judgement.measured == "executor-0 showed no final block"
        world.nodes["executor-0"].now_state = NodeState.STOPPED
        assert (await world.evaluate(check)).verdict is Verdict.PASS


async def test_too_few_compared_heights_leave_it_unknown(make_world: MakeWorld) -> None:
    world = make_world("validator-0", "validator-1")
    check = NoForks(NoConfig())
    other = world.nodes["validator-1"]
    async with world.live():
        await world.capture(check)
        await world.blocks(6)
        other.script.go(up=False)
        await world.blocks(12)
        judgement = await world.evaluate(check, making=False)
    assert judgement.verdict is Verdict.UNKNOWN
    assert judgement.measured == "3 of 15 final heights were seen at two nodes or more"


async def test_final_blocks_that_could_not_be_kept_leave_it_unknown(make_world: MakeWorld) -> None:
    world = make_world("validator-0", "validator-1")
    check = NoForks(NoConfig())
    world.feed.finality._limit = 50
    async with world.live():
        await world.capture(check)
        other = world.nodes["validator-1"].script
        other.go(up=False)
        await world.blocks(60)
        other.chain = world.nodes["validator-0"].script.chain
        other.go(up=True)
        await world.blocks(200)
        judgement = await world.evaluate(check)
    assert judgement.verdict is Verdict.UNKNOWN
    assert judgement.evidence["never_compared"] == 14  # seven heights, shown by one and then by the other
    assert "could not be kept" in judgement.measured


async def test_a_single_node_is_compared_with_itself(make_world: MakeWorld) -> None:
    world = make_world("validator-0")
    check = NoForks(NoConfig())
    async with world.live():
        await world.capture(check)
        assert (await world.evaluate(check, making=False)).verdict is Verdict.UNKNOWN
        await world.blocks(10)
        assert (await world.evaluate(check, making=False)).verdict is Verdict.PASS
        script = world.nodes["validator-0"].script
        old, script.chain = script.chain, script.chain[:2]
        await world.blocks(len(old) + 1, "validator-0")
        await anyio.wait_all_tasks_blocked()
        judgement = await world.evaluate(check, making=False)
    assert judgement.verdict is Verdict.FAIL
    assert "validator-0 replaced its final block" in judgement.measured
