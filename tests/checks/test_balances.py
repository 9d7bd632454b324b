from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest

from harness.api import Capability, NodeState, Verdict
from harness_checks.balances import BalancesConserved
from harness_traffic.transactions import Transactions
from tests.observe.world import World

pytestmark = pytest.mark.anyio
MakeWorld = Callable[..., World]


def check() -> BalancesConserved:
    return BalancesConserved(BalancesConserved.Config())


async def transact(world: World) -> None:
    await world.drive(Transactions(Transactions.Config(rate="2/s")), 20)


async def test_balances_that_follow_from_the_blocks_pass(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        await transact(world)
        judgement = await world.evaluate(check())
    assert judgement.verdict is Verdict.PASS
    assert judgement.measured == "10 wallets right on 3 nodes"
    assert judgement.evidence["expected_total"] == 10_000
    assert set(world.balances.values()) != {1000}
    assert check().requires() == {Capability.TRANSFERS, Capability.BALANCES}


async def test_a_forged_balance_on_one_node_fails(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        await transact(world)
        world.nodes["validator-1"].behaviour.forged["wallet-3"] = 10**6
        judgement = await world.evaluate(check())
    assert judgement.verdict is Verdict.FAIL
    assert "wallet-3 has 1000000 on validator-1, not" in judgement.measured
    expected = world.balances["wallet-3"]
    assert judgement.evidence["differing"] == {
        "validator-1": {"wallet-3": {"expected": expected, "found": 1_000_000}},
    }


async def test_money_that_appears_everywhere_fails(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        await transact(world)
        world.balances["wallet-0"] += 1
        judgement = await world.evaluate(check())
    assert judgement.verdict is Verdict.FAIL
    assert judgement.evidence["found_totals"]["executor-0"] == judgement.evidence["expected_total"] + 1
    assert len(judgement.evidence["differing"]) == 3


async def test_a_transaction_that_timed_out_and_got_in_all_the_same_counts(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        world.begin()
        tracker = world.tracker("transactions")
        transaction = world.network.transactions(world.rng()).make(0)
        tracker.timed_out(tracker.offer(world.clock.now(), transaction.id, transaction.effects))
        world.mempool[transaction.id] = transaction
        await world.blocks(2)
        world.end()
        judgement = await world.evaluate(check())
    assert judgement.verdict is Verdict.PASS
    assert tracker.summary().surprises == 1


async def test_a_node_that_lags_is_asked_again(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        await transact(world)
        node = world.nodes["executor-0"]
        node.behaviour.forged["wallet-1"] = -1  # what it has not heard of so far

        async def catch_up() -> None:
            await anyio.sleep(5)
            node.behaviour.forged.clear()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(catch_up)
            judgement = await world.evaluate(check())
    assert judgement.verdict is Verdict.PASS


async def test_a_node_that_stays_behind_is_not_known_to_be_wrong_and_another_still_is(make_world: MakeWorld) -> None:
    world = make_world()
    late = world.nodes["executor-0"]
    async with world.live():
        await transact(world)
        late.script.replace(late.script.chain[:5])
        late.behaviour.forged["wallet-1"] = 1
        judgement = await world.evaluate(check(), making=False)
        assert judgement.verdict is Verdict.UNKNOWN
        assert "executor-0 is at block 4, and transactions were included up to" in judgement.measured
        assert "executor-0" in judgement.evidence["differing"]
        world.nodes["validator-0"].behaviour.forged["wallet-2"] = -1
        judgement = await world.evaluate(check(), making=False)
    assert judgement.verdict is Verdict.FAIL
    assert "on validator-0" in judgement.measured


async def test_inclusions_of_unknown_standing_leave_it_unknown(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        await transact(world)
        world.balances["wallet-0"] += 1
        world.tracker("transactions").unknown_inclusions = 1
        judgement = await world.evaluate(check())
    assert judgement.verdict is Verdict.UNKNOWN
    assert "never came out" in judgement.measured


async def test_a_node_that_cannot_be_asked_leaves_it_unknown(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        await transact(world)
        world.nodes["executor-0"].script.go(up=False)
        judgement = await world.evaluate(check())
        assert judgement.verdict is Verdict.UNKNOWN
        assert "executor-0 could not be asked" in judgement.measured
        world.nodes["validator-0"].behaviour.forged["wallet-1"] = -1
        assert (await world.evaluate(check())).verdict is Verdict.FAIL
        for node in world.nodes.values():
            node.now_state = NodeState.STOPPED
        assert (await world.evaluate(check())).verdict is Verdict.UNKNOWN


async def test_unreadable_blocks_leave_it_unknown(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        for node in world.nodes.values():
            node.script.withheld.add("block-5")
        await transact(world)
        judgement = await world.evaluate(check())
    assert judgement.verdict is Verdict.UNKNOWN
    assert "could not be read" in judgement.measured
