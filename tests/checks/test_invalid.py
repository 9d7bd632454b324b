from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.api import NodeState, Verdict
from harness_checks.balances import BalancesConserved
from harness_checks.invalid import InvalidNeverIncluded, RejectsInvalid
from tests.observe.world import World

pytestmark = pytest.mark.anyio
MakeWorld = Callable[..., World]


def rejects() -> RejectsInvalid:
    return RejectsInvalid(RejectsInvalid.Config())


def never() -> InvalidNeverIncluded:
    return InvalidNeverIncluded(InvalidNeverIncluded.Config())


def answered(world: World, *marks: str) -> None:
    """As the workload enters them: an outcome and a mark each."""
    tracker = world.tracker("invalid:transactions.invalid")
    for mark in marks:
        ticket = tracker.offer(world.clock.now())
        if mark.endswith("accepted"):
            tracker.accepted(ticket)
        elif mark.endswith(("rejected", "unexplained")):
            tracker.rejected(ticket, "no")
        else:
            tracker.failed(ticket, "no answer")
        tracker.mark(mark)


@pytest.mark.parametrize(
    ("marks", "verdict", "measured"),
    [
        (["replay rejected", "replay rejected", "random rejected"], Verdict.PASS, "3 of 2 kinds refused"),
        (["replay rejected", "random accepted"], Verdict.FAIL, "1 random accepted"),
        (["replay rejected", "random broken"], Verdict.FAIL, "1 random answered with an error of the node's own"),
        (["replay unexplained", "random rejected"], Verdict.FAIL, "1 replay refused without a reason"),
        (["replay rejected", "random unanswered"], Verdict.UNKNOWN, "1 random got no answer"),
        (["replay unsent", "random rejected"], Verdict.UNKNOWN, "the drive was over before any replay could be sent"),
        (["replay left-out", "random rejected"], Verdict.PASS, "1 of 1 kinds refused, no replay sent"),
        (["replay rejected", "random disturbed"], Verdict.PASS, "1 of 1 kinds refused"),
        (["random disturbed"], Verdict.UNKNOWN, "no node answered any of 1"),
        ([], Verdict.UNKNOWN, "nothing invalid was sent"),
    ],
)
async def test_what_nodes_did_with_what_they_must_refuse(
    make_world: MakeWorld, marks: list[str], verdict: Verdict, measured: str
) -> None:
    world = make_world()
    answered(world, *marks)
    judgement = await rejects().evaluate(world)
    assert (judgement.verdict, judgement.measured) == (verdict, measured)


async def test_a_node_that_ended_fails(make_world: MakeWorld) -> None:
    world = make_world()
    answered(world, "mutated rejected")
    world.nodes["validator-1"].now_state = NodeState.EXITED
    judgement = await rejects().evaluate(world)
    assert (judgement.verdict, judgement.measured) == (Verdict.FAIL, "validator-1 ended")


def put(world: World, *ids: str, on: tuple[str, ...] = ()) -> None:
    """A block with these transactions, whatever they do."""
    world.make_block(*on)
    name = (on or tuple(world.nodes))[0]
    world.bodies[world.nodes[name].script.head.hash] = ids


async def never_after(world: World, unwanted: dict[str, int], *blocks: tuple[str, ...]) -> tuple[Verdict, str]:
    check = never()
    async with world.live():
        await world.capture(check)
        world.begin()
        world.network.unwanted.update(unwanted)
        for ids in blocks:
            put(world, *ids)
            await world.blocks(1)
        world.end()
        judgement = await world.evaluate(check)
    return judgement.verdict, judgement.measured


async def test_an_invalid_one_in_a_block_fails(make_world: MakeWorld) -> None:
    verdict, measured = await never_after(make_world(), {"bad": 0}, ("good",), ("bad",))
    assert verdict is Verdict.FAIL
    assert measured.startswith("1 included: bad in block")


async def test_an_invalid_one_that_only_one_node_shows_fails_though_it_is_orphaned(make_world: MakeWorld) -> None:
    world, check = make_world(), never()
    async with world.live():
        await world.capture(check)
        world.begin()
        world.network.unwanted["bad"] = 0
        await world.blocks(2)
        put(world, "bad", on=("validator-1",))
        await world.clock.sleep(0.5)
        world.nodes["validator-1"].script.replace(world.nodes["validator-0"].script.chain)
        await world.blocks(8)
        world.end()
        judgement = await world.evaluate(check)
    assert judgement.verdict is Verdict.FAIL
    assert "of validator-1" in judgement.measured


async def test_what_was_sent_again_may_be_there_once_but_not_twice(make_world: MakeWorld) -> None:
    assert (await never_after(make_world(), {"again": 1}, ("again",), ("other",)))[0] is Verdict.PASS
    assert (await never_after(make_world(), {"again": 1}, ("again",), ("other",), ("again",)))[0] is Verdict.FAIL
    assert (await never_after(make_world(), {"again": 1}, ("again", "again")))[0] is Verdict.FAIL


async def test_the_same_one_in_two_branches_is_there_once(make_world: MakeWorld) -> None:
    world, check = make_world(), never()
    async with world.live():
        await world.capture(check)
        world.begin()
        world.network.unwanted["again"] = 1
        await world.blocks(2)
        chain = world.nodes["validator-0"].script.chain
        put(world, "again", on=("validator-1",))
        world.nodes["validator-0"].script.replace(chain)
        put(world, "again", on=("validator-0", "executor-0"))
        await world.clock.sleep(0.5)
        world.nodes["validator-1"].script.replace(world.nodes["validator-0"].script.chain)
        await world.blocks(3)
        world.end()
        judgement = await world.evaluate(check)
    assert judgement.evidence["blocks"] > 5
    assert judgement.verdict is Verdict.PASS, judgement


async def test_nothing_to_look_for_and_unread_blocks_are_unknown(make_world: MakeWorld) -> None:
    assert (await never_after(make_world(), {}, ("good",)))[0] is Verdict.UNKNOWN
    world, check = make_world(), never()
    async with world.live():
        await world.capture(check)
        world.begin()
        world.network.unwanted["bad"] = 0
        await world.blocks(1)
        for node in world.nodes.values():
            node.script.go(False)
        await world.clock.sleep(5)
        world.end()
        judgement = await world.evaluate(check, making=False)
    assert judgement.verdict is Verdict.UNKNOWN
    assert "could not be" in judgement.measured


async def test_a_negative_balance_fails(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        await world.blocks(1)
        world.begin()
        world.end()
        world.nodes["validator-1"].behaviour.forged["wallet-2"] = -7
        judgement = await world.evaluate(BalancesConserved(BalancesConserved.Config()))
    assert judgement.verdict is Verdict.FAIL
    assert judgement.measured == "wallet-2 has -7 on validator-1 (1 below 0)"


@pytest.mark.parametrize(("sink", "verdict"), [(5, Verdict.PASS), (6, Verdict.FAIL), (4, Verdict.FAIL)])
async def test_all_balances_come_to_the_supply(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch, sink: int, verdict: Verdict
) -> None:
    world = make_world()
    world.network.supply = 10_005

    async def balances(client: object) -> dict[str, int]:
        return {**world.balances, "proposer": sink}

    monkeypatch.setattr("tests.observe.fakes.FakeClient.balances", balances, raising=False)
    async with world.live():
        await world.blocks(1)
        world.begin()
        world.end()
        judgement = await world.evaluate(BalancesConserved(BalancesConserved.Config()))
    assert judgement.verdict is verdict
    assert judgement.evidence["supplies_found"]["executor-0"] == 10_000 + sink
    expected = {5: "supply 10005", 6: "1 created", 4: "1 lost"}[sink]
    assert expected in judgement.measured
