"""Liveness of networks under faults: what those excuse, and what not."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest

from harness.api import Verdict
from tests.checks.liveness_runs import begin, end
from tests.observe.world import World

pytestmark = pytest.mark.anyio
MakeWorld = Callable[..., World]
NODES = ("validator-0", "validator-1", "executor-0")


async def test_a_restarted_node_that_recovers_passes_with_its_recovery_measured(make_world: MakeWorld) -> None:
    world = make_world()
    node = world.nodes["validator-1"]
    async with world.live():
        check = await begin(world)
        await world.blocks(30)
        injected = world.clock.now()
        world.faults.windows["validator-1"] = [(injected, None)]
        node.script.go(up=False)
        await world.blocks(25)  # longer than a stall may be
        node.script.go(up=True)
        world.faults.windows["validator-1"] = [(injected, world.clock.now())]
        await world.blocks(3, "validator-0", "executor-0")
        await world.blocks(30)
        judgement = await end(world, check)
    assert judgement.verdict is Verdict.PASS, judgement
    [recovery] = judgement.evidence["nodes"]["validator-1"]["recovery_seconds"]
    assert recovery == pytest.approx(4, abs=1)
    assert "1 recoveries ≤" in judgement.measured


async def test_a_short_fault_has_its_recovery_measured_too(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        check = await begin(world)
        await world.blocks(30)
        now = world.clock.now()
        world.faults.windows["validator-1"] = [(now + 0.1, now + 0.4)]  # between two blocks
        await world.blocks(30)
        judgement = await end(world, check)
    [recovery] = judgement.evidence["nodes"]["validator-1"]["recovery_seconds"]
    assert recovery == pytest.approx(0.6, abs=0.15)  # the next block showed it


async def test_a_restarted_node_that_stays_behind_fails(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        check = await begin(world, recovery_timeout="20s")
        await world.blocks(60)
        world.faults.windows["validator-1"] = [(world.clock.now() - 5, world.clock.now())]
        await world.blocks(30, "validator-0", "executor-0")
        judgement = await end(world, check, making=False)
    assert judgement.verdict is Verdict.FAIL
    wrong = judgement.evidence["nodes"]["validator-1"]["wrong"]
    assert "did not keep up again after its fault was healed" in wrong
    assert any("behind the highest" in what for what in wrong)


async def test_a_slow_recovery_fails_even_if_the_node_is_there_in_the_end(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        check = await begin(world, recovery_timeout="20s")
        await world.blocks(60)
        world.faults.windows["validator-1"] = [(world.clock.now() - 5, world.clock.now())]
        await world.blocks(30, "validator-0", "executor-0")
        await world.blocks(30)
        judgement = await end(world, check)
    assert judgement.verdict is Verdict.FAIL
    assert "took 3" in judgement.measured
    assert "to keep up after its fault was healed" in judgement.measured


async def test_a_node_healed_at_the_very_end_gets_its_time_to_recover(make_world: MakeWorld) -> None:
    world = make_world()
    node = world.nodes["validator-1"]
    async with world.live():
        check = await begin(world)
        await world.blocks(60)
        world.faults.windows["validator-1"] = [(world.clock.now(), world.clock.now() + 10)]
        node.script.go(up=False)
        await world.blocks(10)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_up_after, world, "validator-1", 20.0)
            judgement = await end(world, check)
    assert judgement.verdict is Verdict.PASS, judgement
    [recovery] = judgement.evidence["nodes"]["validator-1"]["recovery_seconds"]
    assert 18 < recovery < 23


async def _up_after(world: World, name: str, seconds: float) -> None:
    await anyio.sleep(seconds)
    world.nodes[name].script.go(up=True)


async def test_a_fault_before_recovery_was_due_leaves_the_judging_to_the_last_one(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        check = await begin(world, recovery_timeout="20s")
        await world.blocks(60)
        now = world.clock.now()
        world.faults.windows["validator-1"] = [(now, now + 5), (now + 10, now + 15)]
        await world.blocks(16, "validator-0", "executor-0")
        await world.blocks(30)
        judgement = await end(world, check)
    assert judgement.verdict is Verdict.PASS, judgement
    assert len(judgement.evidence["nodes"]["validator-1"]["recovery_seconds"]) == 1


async def test_a_stall_on_an_undisturbed_node_is_not_excused_by_anothers_fault(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        check = await begin(world)
        await world.blocks(30)
        world.faults.windows["validator-1"] = [(world.clock.now(), world.clock.now() + 40)]
        await anyio.sleep(40)
        await world.blocks(60)
        judgement = await end(world, check)
    assert judgement.verdict is Verdict.FAIL
    assert "validator-0: stood still" in judgement.measured
    assert judgement.evidence["nodes"]["validator-1"]["wrong"] == []


async def test_the_network_may_not_stand_still_however_many_nodes_are_restarted(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        check = await begin(world)
        await world.blocks(30)
        now = world.clock.now()
        for number, name in enumerate(NODES):
            world.faults.windows[name] = [(now + start, now + start + 3) for start in range(5 * number, 60, 15)]
        await anyio.sleep(60)
        await world.blocks(90)
        judgement = await end(world, check)
    assert judgement.verdict is Verdict.FAIL
    assert judgement.measured == "network: stood still for 1m1s"
    assert judgement.evidence["network_longest_stall_seconds"] == 61


async def test_a_fault_excuses_no_more_than_the_time_from_it_to_the_recovery(make_world: MakeWorld) -> None:
    world = make_world()
    others = ("validator-0", "executor-0")
    async with world.live():
        check = await begin(world)
        await world.blocks(60)
        await world.blocks(40, *others)
        world.faults.windows["validator-1"] = [(world.clock.now(), world.clock.now() + 0.3)]
        await world.blocks(30, *others)
        await world.blocks(60)
        judgement = await end(world, check)
    assert judgement.verdict is Verdict.FAIL
    assert judgement.measured == "validator-1: stood still for 40s"
    assert judgement.evidence["nodes"]["validator-1"]["longest_stall_seconds"] == 40


@pytest.mark.parametrize(("down", "verdict"), [(40, Verdict.PASS), (10, Verdict.FAIL)])
async def test_more_power_down_than_is_tolerated_excuses_the_network_until_it_has_recovered(
    make_world: MakeWorld, down: int, verdict: Verdict
) -> None:
    world = make_world()
    async with world.live():
        check = await begin(world, recovery_timeout="10s")
        await world.blocks(60)
        now = world.clock.now()
        for name in ("validator-0", "validator-1"):
            world.faults.windows[name] = [(now, now + down)]
        await anyio.sleep(45)
        await world.blocks(60)
        judgement = await end(world, check)
    assert judgement.verdict is verdict, judgement
    if verdict is Verdict.FAIL:
        assert judgement.evidence["network_longest_stall_seconds"] == 26  # of 46, 20 are excused


@pytest.mark.parametrize(("mild", "verdict"), [(False, Verdict.PASS), (True, Verdict.FAIL)])
async def test_what_is_promised_and_allowed_shrinks_with_the_power_that_is_up(
    make_world: MakeWorld, mild: bool, verdict: Verdict
) -> None:
    names = tuple(f"validator-{number}" for number in range(5))
    world = make_world(*names)
    world.faults.mild.update(names if mild else ())
    async with world.live():
        check = await begin(world)
        now = world.clock.now()
        for name in names[:2]:
            world.faults.windows[name] = [(now, now + 200)]
        for _ in range(75):
            await anyio.sleep(2.4)
            world.make_block()
        await anyio.sleep(20)
        world.make_block()
        judgement = await end(world, check)
    assert judgement.verdict is verdict, judgement
    assert judgement.evidence["promised"] == (200 if mild else 120)
    assert judgement.evidence["power_up"] == (1.0 if mild else 0.6)
    wrong = judgement.evidence["nodes"]["validator-4"]["wrong"]
    assert wrong == (["made 76 of 200 promised blocks", "stood still for 20s"] if mild else [])
