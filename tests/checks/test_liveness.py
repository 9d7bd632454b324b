"""Liveness of networks that nobody disturbs."""

from __future__ import annotations

import random
from collections.abc import Callable

import anyio
import pytest

from harness.api import NodeState, Verdict
from harness_checks.liveness import poisson_at_most
from tests.checks.liveness_runs import begin, end
from tests.observe.world import World

pytestmark = pytest.mark.anyio
MakeWorld = Callable[..., World]


async def test_a_network_that_keeps_its_promise_passes(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        check = await begin(world)
        await world.blocks(60)
        judgement = await end(world, check)
    assert judgement.verdict is Verdict.PASS
    assert judgement.measured == "60 blocks on 3 nodes, lag ≤ 0, stall ≤ 4s"
    assert "≥ 50% of 60 promised blocks" in judgement.asked
    assert judgement.evidence["nodes"]["executor-0"]["made"] == 60


async def test_five_blocks_in_five_minutes_fail(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        check = await begin(world)
        for _ in range(5):
            await anyio.sleep(60)
            world.make_block()
        judgement = await end(world, check)
    assert judgement.verdict is Verdict.FAIL
    assert "made 5 of 300 promised blocks" in judgement.measured
    assert any("stood still for 1m" in what for what in judgement.evidence["nodes"]["validator-0"]["wrong"])


async def test_blocks_made_after_the_drive_do_not_count(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        check = await begin(world, max_stall="1000 blocks")
        await anyio.sleep(60)
        world.end()
        await world.blocks(60)
        judgement = await world.evaluate(check)
    assert judgement.verdict is Verdict.FAIL
    assert "made 0 of 60" in judgement.measured


async def test_proposers_that_stop_half_way_are_a_stall(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        check = await begin(world)
        await world.blocks(100)
        await anyio.sleep(30)
        judgement = await end(world, check, making=False)
    assert judgement.verdict is Verdict.FAIL
    assert "stood still for 30" in judgement.measured
    assert judgement.evidence["nodes"]["validator-1"]["made"] == 100


async def test_a_node_that_answers_but_stands_still_fails_alone(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        check = await begin(world)
        await world.blocks(60, "validator-0", "executor-0")
        judgement = await end(world, check, making=False)
    assert judgement.verdict is Verdict.FAIL
    assert world.feed.nodes["validator-1"].connected
    wrong = {name: node["wrong"] for name, node in judgement.evidence["nodes"].items()}
    assert wrong["validator-0"] == wrong["executor-0"] == []
    assert wrong["validator-1"][0] == "made 0 of 60 promised blocks"
    assert wrong["validator-1"][1] == "ended 60 blocks behind the highest (5 of 65)"


async def test_a_node_that_is_cut_off_near_the_end_is_behind(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        check = await begin(world)
        await world.blocks(60)
        await world.blocks(10, "validator-0", "validator-1")
        judgement = await end(world, check, making=False)
    assert judgement.verdict is Verdict.FAIL
    assert judgement.measured == "executor-0: ended 10 blocks behind the highest (65 of 75)"


async def test_a_node_that_is_behind_for_a_moment_gets_time(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        check = await begin(world)
        await world.blocks(60)
        await world.blocks(10, "validator-0", "validator-1")
        judgement = await end(world, check)  # blocks go on, on all nodes
    assert judgement.verdict is Verdict.PASS


async def test_a_node_that_never_answered_fails(make_world: MakeWorld) -> None:
    world = make_world()
    world.nodes["executor-0"].script.up = False
    async with world.live():
        check = await begin(world)
        await world.blocks(40)
        judgement = await end(world, check)
    assert judgement.verdict is Verdict.FAIL
    assert judgement.measured == "executor-0: its API never answered: connection refused"


async def test_when_no_node_ever_answered_nothing_is_known(make_world: MakeWorld) -> None:
    world = make_world()
    for node in world.nodes.values():
        node.script.up = False
    async with world.live():
        check = await begin(world)
        await anyio.sleep(60)
        judgement = await end(world, check)
    assert judgement.verdict is Verdict.UNKNOWN
    assert judgement.evidence["nodes"]["executor-0"] == "connection refused"


async def test_too_short_a_drive_proves_nothing(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        check = await begin(world)
        await world.blocks(2)
        judgement = await end(world, check)
    assert judgement.verdict is Verdict.UNKNOWN
    assert "too short" in judgement.measured


async def test_a_shortfall_that_may_be_chance_is_unknown(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        check = await begin(world)
        for _ in range(4):
            await anyio.sleep(2.5)
            world.make_block()
        judgement = await end(world, check)
    assert judgement.verdict is Verdict.UNKNOWN
    assert "may be chance" in judgement.measured


async def test_nodes_that_should_not_be_up_are_not_judged(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        check = await begin(world)
        await world.blocks(30, "validator-0")
        world.faults.windows["validator-1"] = [(world.clock.now(), None)]
        world.nodes["executor-0"].now_state = NodeState.STOPPED
        judgement = await end(world, check, making=False)
        assert judgement.verdict is Verdict.PASS
        assert set(judgement.evidence["left_out"]) == {"validator-1", "executor-0"}
        world.nodes["validator-0"].now_state = NodeState.STOPPED
        assert (await world.evaluate(check, making=False)).verdict is Verdict.UNKNOWN


async def test_thirty_healthy_lotteries_give_no_false_alarm(make_world: MakeWorld) -> None:
    """Leaders drawn per slot of a fifth of an interval, each node a little late: as lively as a lottery can be."""
    verdicts = []
    for seed in range(30):
        rng = random.Random(seed)
        world = make_world()
        async with world.live():
            check = await begin(world)
            for _ in range(60 * 5):
                await anyio.sleep(0.2)
                if rng.random() < 0.2:
                    world.make_block()
            judgement = await end(world, check)
        verdicts.append(judgement.verdict)
    assert set(verdicts) == {Verdict.PASS}


def test_the_chance_of_a_shortfall() -> None:
    assert poisson_at_most(0, 10) == pytest.approx(4.54e-5, rel=0.01)
    assert poisson_at_most(10, 10) == pytest.approx(0.583, rel=0.01)
    assert poisson_at_most(5, 0) == 1.0
    assert poisson_at_most(500, 1000) < 1e-50
    assert poisson_at_most(1999, 1000) == pytest.approx(1.0)
