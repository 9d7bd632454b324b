from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from harness.api import Capability, NodeSpec, PlanView, Rate, UsageError
from harness_traffic.clients import ClientPool, in_turn
from harness_traffic.da import DataAvailability
from harness_traffic.openloop import confess, moments
from harness_traffic.transactions import Transactions
from tests.observe.virtual_time import VirtualLoop
from tests.observe.world import World

pytestmark = pytest.mark.anyio
MakeWorld = Callable[..., World]


def workload(**options: Any) -> Transactions:
    return Transactions(Transactions.Config(**{"rate": "2/s", "users": 5, **options}))


def plan(**changes: Any) -> PlanView:
    values: dict[str, Any] = {
        "roles": {"validator": 3},
        "nodes": (NodeSpec("validator-0", "validator", 0, 0),),
        "wallets": 10,
        "duration": 60.0,
        "block_interval": 2.0,
    }
    return PlanView(**{**values, **changes})


def test_options_are_checked_against_the_plan() -> None:
    assert workload().check(plan()) == ()
    assert workload(users=11).check(plan()) == ("users = 11, but there are 10 wallets",)
    assert "from wallet 8 on" in workload(users=5, first_wallet=8).check(plan())[0]
    assert "first_wallet = 10" in workload(users=None, first_wallet=10).check(plan())[0]
    assert "no wallets" in workload().check(plan(wallets=0))[0]
    assert "nothing would be sent" in workload(rate=0).check(plan())[0]
    assert "2.5/s" in workload(rate="5/block").describe(plan())
    assert "150 transactions" in workload(rate="5/block").describe(plan())
    assert workload().requires() == {Capability.TRANSACTIONS}
    assert [default.use for default in workload().expectations()] == ["transaction-inclusion"]
    assert workload(rate=7).config.rate == Rate(7.0, "block")


async def test_moments_are_fixed_in_advance_even_when_the_loop_is_late(make_world: MakeWorld) -> None:
    world, seen = make_world(), []
    clock, tracker = world.clock, world.tracker("t")
    world.begin(5)
    start = world.window.start
    async for moment in moments(world, Rate(2.0, "s"), tracker):
        seen.append((moment - start, clock.now() - start))
        if moment == start + 1.0:
            await clock.sleep(2.2)  # something held it up
    assert [moment for moment, _ in seen] == [n / 2 for n in range(10)]
    late = [round(at - moment, 3) for moment, at in seen]
    assert late == [0, 0, 0, 1.7, 1.2, 0.7, 0.2, 0, 0, 0]
    assert tracker.figures()["dropped"] == 0


async def test_nothing_is_begun_after_the_deadline_and_what_was_not_reached_is_counted(make_world: MakeWorld) -> None:
    world, begun = make_world(), 0
    clock, tracker = world.clock, world.tracker("t")
    world.begin(2)
    async for moment in moments(world, Rate(100_000_000.0, "s"), tracker):
        assert clock.now() < world.deadline
        tracker.accepted(tracker.offer(moment))
        begun += 1
        await clock.sleep(0.3)
    summary = tracker.summary()
    assert (begun, summary.offered, summary.dropped) == (7, 200_000_000, 199_999_993)
    assert summary.reasons == {"dropped: the generator was 199999993 behind at the deadline": 199_999_993}
    confess(world, tracker)
    assert any("199999993 of 200000000 were never sent" in warning for warning in world.warnings)


async def test_everything_is_offered_on_time_accepted_and_followed_into_a_block(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        await world.drive(workload(), 30)
        await world.blocks(3)
        summary = world.tracker("transactions").summary()
    assert (summary.offered, summary.accepted, summary.included) == (60, 60, 60)
    assert summary.lateness.max < 0.001
    assert summary.latency.max <= 1.6
    assert world.warnings == []
    assert {len(node.submitted) for node in world.nodes.values()} == {24, 12}  # five users on three nodes
    assert all(node.clients == 0 for node in world.nodes.values()), "clients are closed"


async def test_the_same_seed_gives_the_same_transactions(make_world: MakeWorld, tmp_path: Any) -> None:
    sent = []
    for seed in (1, 1, 2):
        world = make_world()
        world.seed = seed
        async with world.live():
            await world.drive(workload(), 10)
        sent.append([[tx.id for tx in node.submitted] for node in world.nodes.values()])
    assert sent[0] == sent[1]
    assert sent[0] != sent[2]


async def test_no_wallet_sends_for_two_workloads(make_world: MakeWorld) -> None:
    world = make_world()
    first, second = workload(users=None), workload(users=2, first_wallet=4)
    await first.prepare(world)
    await first.prepare(world)  # another run on the same network
    world.component = "transactions#2"
    with pytest.raises(UsageError, match="wallets 4 to 5 would be used by transactions as well.*first_wallet"):
        await second.prepare(world)
    other = make_world()
    await workload(users=4).prepare(other)
    other.component = "transactions#2"
    await second.prepare(other)
    assert other.network.senders == {
        **dict.fromkeys(range(4), "transactions"),
        **dict.fromkeys((4, 5), "transactions#2"),
    }


async def test_slow_answers_do_not_delay_sending(make_world: MakeWorld) -> None:
    world = make_world()
    for node in world.nodes.values():
        node.behaviour.delay = 1.9
    async with world.live():
        await world.drive(workload(users=10, submit_timeout="4s"), 30)
        summary = world.tracker("transactions").summary()
    assert (summary.offered, summary.dropped, summary.accepted) == (60, 0, 60)
    assert summary.lateness.max < 0.001
    assert summary.answer.percentile(50) == pytest.approx(1.9, rel=0.01)


async def test_what_is_too_much_at_once_is_dropped_and_said(make_world: MakeWorld) -> None:
    world = make_world()
    for node in world.nodes.values():
        node.behaviour.delay = 4.0
    async with world.live():
        await world.drive(workload(users=10, max_in_flight=3), 30)
        summary = world.tracker("transactions").summary()
    assert summary.offered == 60
    assert summary.dropped > 20
    assert summary.offered == summary.accepted + summary.dropped
    assert summary.reasons == {"dropped: 3 were in flight": summary.dropped}
    assert any("never sent" in warning for warning in world.warnings)


async def test_when_all_users_wait_it_drops(make_world: MakeWorld) -> None:
    world = make_world()
    for node in world.nodes.values():
        node.behaviour.delay = 4.0
    async with world.live():
        await world.drive(workload(users=2), 30)
        summary = world.tracker("transactions").summary()
    assert summary.dropped > 30
    assert summary.reasons == {"dropped: no user was free": summary.dropped}


async def test_a_rejected_transactions_nonce_is_used_again(make_world: MakeWorld) -> None:
    world = make_world("validator-0")
    node = world.nodes["validator-0"]
    node.behaviour.reject = "mempool is full"
    async with world.live(), anyio.create_task_group() as tasks:
        tasks.start_soon(_accept_after, world, 5.2)
        await world.drive(workload(), 20)
        await world.blocks(2)
        summary = world.tracker("transactions").summary()
    assert summary.rejected == 11
    assert summary.reasons == {"rejected: mempool is full": 11}
    assert summary.accepted == summary.included == 29
    by_user = [[tx.nonce for tx in node.submitted if tx.sender == user] for user in range(5)]
    assert all(set(nonces) == set(range(max(nonces) + 1)) for nonces in by_user), "no nonce was skipped"


async def _accept_after(world: World, seconds: float) -> None:
    await anyio.sleep(seconds)
    for node in world.nodes.values():
        node.behaviour.reject = ""


async def test_an_unreachable_node_is_passed_over(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        world.nodes["validator-0"].script.go(up=False)
        await anyio.sleep(1)
        await world.drive(workload(), 20)
        await world.blocks(2)
        summary = world.tracker("transactions").summary()
    assert (summary.offered, summary.accepted, summary.included) == (40, 40, 40)
    assert world.nodes["validator-0"].submitted == []


async def test_when_no_node_answers_submissions_fail_and_users_wait_for_their_nonce(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        for node in world.nodes.values():
            node.script.go(up=False)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_up_after, world, 10.2)
            await world.drive(workload(), 20)
        summary = world.tracker("transactions").summary()
    assert summary.failed == 5  # one each user: their fate is not known
    assert summary.dropped > 10
    assert summary.accepted >= 18
    assert summary.rejected == 0
    assert summary.offered == 40


async def _up_after(world: World, seconds: float) -> None:
    await anyio.sleep(seconds)
    for node in world.nodes.values():
        node.script.go(up=True)


async def test_a_node_that_hangs_times_out_and_its_user_is_resynchronised_elsewhere(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        world.nodes["validator-1"].behaviour.hang = True
        await world.drive(workload(users=10, submit_timeout="2s"), 20)
        await world.blocks(2)
        summary = world.tracker("transactions").summary()
    assert summary.timed_out > 5
    assert summary.accepted == summary.included
    assert summary.rejected == 0
    assert summary.unresolved == 0
    assert summary.offered == 40


async def test_what_timed_out_is_handed_to_a_node_that_has_not_heard_of_it(make_world: MakeWorld) -> None:
    """Another one with its nonce might be taken here, while it gets into a block by the node that did not answer."""
    world = make_world()
    async with world.live():
        world.nodes["validator-1"].behaviour.hang = True
        await world.drive(workload(users=10, submit_timeout="2s"), 20)
        await world.blocks(2)
        summary = world.tracker("transactions").summary()
    assert summary.timed_out > 5
    assert summary.surprises >= summary.timed_out - 1  # one of the last moment: nobody goes on after it
    submitted = [(tx.sender, tx.nonce) for node in world.nodes.values() for tx in node.submitted]
    assert len(set(submitted)) == len(submitted)


async def test_a_chain_without_nonces_frees_the_user_at_once(make_world: MakeWorld) -> None:
    world = make_world()
    world.has_nonces = False
    for node in world.nodes.values():
        node.behaviour.reject = "no"
    async with world.live():
        await world.drive(workload(users=1), 10)
        summary = world.tracker("transactions").summary()
    assert (summary.rejected, summary.dropped) == (20, 0)


async def test_a_no_after_an_unreachable_node_proves_nothing(make_world: MakeWorld) -> None:
    world = make_world("validator-0", "validator-1")
    async with world.live():
        # The feed has not noticed: the workload tries validator-0 first for user 0, then validator-1.
        world.nodes["validator-0"].script.up = False
        world.nodes["validator-1"].behaviour.reject = "tx already exists"
        await world.drive(workload(users=1, rate="1/s"), 1)
        summary = world.tracker("transactions").summary()
    assert (summary.offered, summary.timed_out, summary.rejected) == (1, 1, 0)


async def test_it_says_when_it_could_not_keep_up(make_world: MakeWorld) -> None:
    world = make_world()
    node = world.nodes["validator-0"]
    make, stalled = node.new_client, []

    def slow() -> Any:  # as if the event loop had been held up for a second
        if world._window is not None and not stalled:
            stalled.append(True)
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)
            loop.jump(1.0)
        return make()

    node.new_client = slow  # type: ignore[method-assign]
    async with world.live():
        await world.drive(workload(rate="20/s"), 5)
    assert any("could not keep up" in warning for warning in world.warnings)


@pytest.mark.parametrize("pattern", ["nobody-*", "nosuch", "all:!validator-*:!executors"])
async def test_a_pattern_that_matches_no_node_is_the_users_mistake(make_world: MakeWorld, pattern: str) -> None:
    world = make_world()
    async with world.live():
        world.begin(5)
        for kind in (workload, DataAvailability.Config):
            options = kind(nodes=pattern)
            mistaken = options if isinstance(options, Transactions) else DataAvailability(options)
            with pytest.raises(UsageError, match="node pattern"):
                await mistaken.run(world)


def test_patterns_are_checked_in_plan() -> None:
    names = ("validator-0", "validator-1", "executor-0")
    specs = tuple(NodeSpec(name, name.split("-")[0], 0, number) for number, name in enumerate(names))
    view = plan(roles={"validator": 2, "executor": 1}, nodes=specs)
    for good in ("all", "validator", "validators:!validator-0", "validator,&validator-?", "*-0", "validator-[01]"):
        assert workload(nodes=good).check(view) == (), good
    for bad in ("nosuch", "validator:!nosuch", "all,&sequencer", "node-*"):
        for checked in (workload(nodes=bad), DataAvailability(DataAvailability.Config(nodes=bad))):
            [problem] = checked.check(view)
            assert problem.startswith("nodes: ")
            assert "roles: validator, executor" in problem


async def test_a_client_is_used_again_and_closed_after_an_error(make_world: MakeWorld) -> None:
    world = make_world("validator-0")
    node = world.nodes["validator-0"]
    async with ClientPool() as pool:
        async with pool.client(node) as first, pool.client(node) as second:
            assert first is not second
        async with pool.client(node) as again:
            assert again in (first, second)
        assert node.clients == 2
        with pytest.raises(KeyError):
            async with pool.client(node):
                raise KeyError
        assert node.clients == 1
    assert node.clients == 0


async def test_turns_prefer_nodes_that_answer_the_feed(make_world: MakeWorld) -> None:
    world = make_world("a", "b", "c")
    nodes = list(world.nodes.values())
    async with world.live():
        assert [node.name for node in in_turn(world, nodes, 4)] == ["b", "c", "a"]
        world.nodes["c"].script.go(up=False)
        await anyio.sleep(1)
        assert [node.name for node in in_turn(world, nodes, 2)] == ["a", "b", "c"]
        assert [node.name for node in in_turn(world, nodes, 0, avoid="a")] == ["b", "a", "c"]
