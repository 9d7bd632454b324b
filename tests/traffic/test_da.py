from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from harness.api import Capability, NodeSpec, PlanView
from harness_traffic.da import DataAvailability
from tests.observe.world import World

pytestmark = pytest.mark.anyio
MakeWorld = Callable[..., World]
NODES = ("validator-0", "executor-0", "executor-1")


def workload(**options: Any) -> DataAvailability:
    return DataAvailability(DataAvailability.Config(**{"channel_rate": "2/block", "blob_rate": "1/block", **options}))


def test_options_are_checked_against_the_plan() -> None:
    plan = PlanView(
        {"validator": 1, "executor": 1},
        (NodeSpec("validator-0", "validator", 0, 0), NodeSpec("executor-0", "executor", 0, 1)),
        10,
        60.0,
        2.0,
    )
    assert workload().check(plan) == ()
    assert workload(nodes="executor-*").check(plan) == ()
    assert "matches no node and no role" in workload(nodes="sequencer").check(plan)[0]
    assert "nothing would be sent" in workload(channel_rate=0, blob_rate=0).check(plan)[0]
    assert workload().requires() == {Capability.BLOBS}
    assert [default.use for default in workload().expectations()] == ["da-availability"]
    assert "4096 bytes" in workload().describe(plan)


async def test_operations_and_blobs_are_included_and_blobs_read_back(make_world: MakeWorld) -> None:
    world = make_world(*NODES)
    async with world.live():
        await world.drive(workload(), 20)
        await world.blocks(2)
        channel, blob = world.tracker("da.channel").summary(), world.tracker("da.blob").summary()
    assert (channel.offered, channel.accepted, channel.included) == (40, 40, 40)
    assert (blob.offered, blob.accepted, blob.included) == (20, 20, 20)
    assert blob.marks == {"verified": 20}
    assert world.warnings == []
    blobs = [content for id, content in world.blobs.items() if id.startswith("blob")]
    assert {len(content) for content in blobs} == {4096}
    assert len(set(blobs)) == 20


async def test_a_blob_is_read_from_another_node_than_took_it_and_a_wrong_one_is_found(make_world: MakeWorld) -> None:
    world = make_world(*NODES)
    world.nodes["executor-1"].behaviour.corrupt = True
    async with world.live():
        await world.drive(workload(channel_rate=0), 10)
        blob = world.tracker("da.blob").summary()
    assert blob.marks == {"verified": 5, "corrupt": 5}
    assert sum("corrupt" in warning for warning in world.warnings) == 5


async def test_a_blob_that_nobody_can_reconstruct_is_unavailable(make_world: MakeWorld) -> None:
    world = make_world(*NODES)
    for node in world.nodes.values():
        node.behaviour.lost = True
    async with world.live():
        await world.drive(workload(channel_rate=0, read_timeout="3s"), 5)
        assert world.tracker("da.blob").summary().marks == {"unavailable": 5}


async def test_one_node_that_cannot_reconstruct_is_made_up_for_by_another(make_world: MakeWorld) -> None:
    world = make_world(*NODES)
    world.nodes["executor-0"].behaviour.lost = True
    async with world.live():
        await world.drive(workload(channel_rate=0), 10)
        assert world.tracker("da.blob").summary().marks == {"verified": 10}


async def test_a_node_that_hangs_does_not_keep_another_from_being_asked(make_world: MakeWorld) -> None:
    world = make_world(*NODES)
    async with world.live(), anyio.create_task_group() as tasks:
        tasks.start_soon(_hang_after, world, 5.2)
        await world.drive(workload(channel_rate=0, submit_timeout="1s"), 12)
        blob = world.tracker("da.blob").summary()
    assert blob.timed_out > 0
    assert blob.marks == {"verified": blob.accepted}


async def _hang_after(world: World, seconds: float) -> None:
    await anyio.sleep(seconds)
    world.nodes["executor-0"].behaviour.hang = True


async def test_blobs_that_never_get_in_are_waited_for_and_given_up(make_world: MakeWorld) -> None:
    world = make_world(*NODES)
    world.includes = False
    async with world.live():
        began = anyio.current_time()
        await world.drive(workload(patience="8 blocks"), 10)
        assert anyio.current_time() - began == pytest.approx(18, abs=0.5)
        summary = world.tracker("da.blob").summary()
    assert (summary.accepted, summary.included, summary.lost, summary.marks) == (10, 0, 10, {})


async def test_unreachable_rejecting_and_hanging_nodes_are_told_apart(make_world: MakeWorld) -> None:
    outcomes = {}
    for trouble in ("up", "reject", "hang"):
        world = make_world(*NODES)
        async with world.live():
            for node in world.nodes.values():
                if trouble == "up":
                    node.script.go(up=False)
                elif trouble == "reject":
                    node.behaviour.reject = "no room"
                else:
                    node.behaviour.hang = True
            await world.drive(workload(submit_timeout="1s"), 5)
            summary = world.tracker("da.blob").summary()
        outcomes[trouble] = (summary.failed, summary.rejected, summary.timed_out)
    assert outcomes == {"up": (5, 0, 0), "reject": (0, 5, 0), "hang": (0, 0, 5)}


async def test_too_much_in_flight_is_dropped(make_world: MakeWorld) -> None:
    world = make_world(*NODES)
    for node in world.nodes.values():
        node.behaviour.delay = 5.0
    async with world.live():
        await world.drive(workload(max_in_flight=2), 20)
        summary = world.tracker("da.channel").summary()
    assert summary.dropped > 20
    assert any("never sent" in warning for warning in world.warnings)


async def test_when_it_is_cancelled_later_blocks_concern_nobody(make_world: MakeWorld) -> None:
    world = make_world(*NODES)
    world.includes = False
    async with world.live():
        async with anyio.create_task_group() as driving:
            driving.start_soon(world.drive, workload(channel_rate=0), 60)
            await anyio.sleep(10.5)
            driving.cancel_scope.cancel()
        world.includes = True
        await world.blocks(5)  # with the blobs in them
        assert world.feed.defects == []
        assert world.feed.nodes["executor-0"].connected
    assert world.tracker("da.blob").summary().included == 11
