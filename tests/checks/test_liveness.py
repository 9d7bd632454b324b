from __future__ import annotations

import asyncio
import dataclasses
import math
import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import anyio
import pytest

from harness.api import Judgement, NodeState, Verdict
from harness_checks.liveness import ConsensusLiveness, poisson_at_most
from harness_checks.power import Power
from harness_checks.stretches import Stretch, common, joined
from harness_checks.trace import Trace, observed
from tests.observe.fakes import VirtualLoop, World

pytestmark = pytest.mark.anyio
MakeWorld = Callable[..., World]
NODES = ("validator-0", "validator-1", "executor-0")


def liveness(**options: Any) -> ConsensusLiveness:
    return ConsensusLiveness(ConsensusLiveness.Config(**options))


async def begin(world: World, **options: Any) -> ConsensusLiveness:
    """A few blocks, the baseline, and the beginning of the drive."""
    check = liveness(**options)
    await world.blocks(5)
    await world.capture(check)
    world.begin()
    return check


async def end(world: World, check: ConsensusLiveness, *, making: bool = True) -> Judgement:
    await anyio.wait_all_tasks_blocked()
    world.end()
    return await world.evaluate(check, making=making)


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


def test_power_over_time() -> None:
    power = Power({"a": 2, "b": 1, "c": 1}, {"a": [Stretch(0, 10)], "b": [Stretch(5, math.inf)], "c": []})
    assert power.share(Stretch(-10, 0)) == 1.0
    assert power.share(Stretch(0, 5)) == 0.5
    assert power.share(Stretch(0, 10)) == pytest.approx(0.375)
    assert power.share(Stretch(20, 30)) == 0.75
    assert power.short(Fraction(1, 2)) == [Stretch(0, 10)]
    assert power.short(Fraction(3, 4)) == [Stretch(5, 10)]
    assert power.short(Fraction(1, 4)) == [Stretch(0, math.inf)]
    assert Power({"a": 0}, {"a": [Stretch(0, 10)]}).short(Fraction(1, 3)) == []


def test_stretches_without_others() -> None:
    stretch = Stretch(0, 10)
    assert stretch.without([]) == [stretch]
    assert stretch.without([Stretch(3, 4), Stretch(2, 3), Stretch(8, math.inf)]) == [Stretch(0, 2), Stretch(4, 8)]
    assert stretch.without([Stretch(-1, 11)]) == []
    assert Stretch(5, 4).without([]) == []
    assert joined([Stretch(2, 3), Stretch(0, 1)], slack=1) == [Stretch(0, 3)]
    assert common([Stretch(0, 4), Stretch(6, 9)], [Stretch(3, 7)]) == [Stretch(3, 4), Stretch(6, 7)]


def test_of_a_gap_that_ends_out_of_sight_only_the_beginning_is_certain() -> None:
    gap = Stretch(0, 30)
    assert observed(gap, []) == gap
    assert observed(gap, [Stretch(5, 20)]) == gap  # what was made then would have been seen at 20
    assert observed(gap, [Stretch(20, 29.8)]) == Stretch(0, 20)
    assert observed(gap, [Stretch(20, 25), Stretch(25.2, 40)]) == Stretch(0, 20)
    assert observed(gap, [Stretch(-5, 40)]) == Stretch(0, 0)


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


def test_a_trace_keeps_what_is_notable() -> None:
    trace = Trace(0.0, 10, notable=4.0)
    for at, height in ((1.0, 11), (2.0, 12), (9.0, 13), (10.0, 12), (10.5, 13), (11.0, 14)):
        trace.saw(at, height, keeps_up=True, made=at)
    assert trace.gaps(12.0) == [Stretch(2.0, 9.0), Stretch(11.0, 12.0)]
    assert trace.recovery(1.5) == 0.0  # it kept up all along
    assert trace.recovery(5.0) == 4.0  # the next sign of life
    assert trace.recovery(12.0) is None
    trace.saw(12.0, 15, keeps_up=False, made=12.0)
    trace.saw(13.0, 20, keeps_up=True, made=13.0)
    assert trace.recovery(11.5) == 1.5
