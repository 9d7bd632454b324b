from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from harness.api import Block, BlockHeader, Judgement, Transaction, Verdict
from harness_checks.availability import DataAvailabilityHolds
from harness_checks.inclusion import TransactionInclusion
from harness_traffic.da import DataAvailability
from harness_traffic.transactions import Transactions
from tests.observe.world import World

pytestmark = pytest.mark.anyio
MakeWorld = Callable[..., World]
NODES = ("validator-0", "executor-0", "executor-1")


def inclusion(**options: Any) -> TransactionInclusion:
    return TransactionInclusion(TransactionInclusion.Config(**options))


def availability(**options: Any) -> DataAvailabilityHolds:
    return DataAvailabilityHolds(DataAvailabilityHolds.Config(**options))


async def transact(world: World, **options: Any) -> None:
    await world.drive(Transactions(Transactions.Config(**{"rate": "2/s", **options})), 30)


async def disperse(world: World, **options: Any) -> None:
    options = {"channel_rate": "2/block", "blob_rate": "1/block", **options}
    await world.drive(DataAvailability(DataAvailability.Config(**options)), 20)


async def test_included_transactions_pass_and_the_last_ones_are_waited_for(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        await transact(world)
        assert world.tracker("transactions").summary().included < 60  # some are still on their way
        judgement = await world.evaluate(inclusion())
    assert judgement.verdict is Verdict.PASS
    assert judgement.measured.startswith("included 100 % of 60, p50/p90/p99/max ")
    assert judgement.evidence["transactions"]["lost"] == 0
    assert judgement.asked == "≥ 95% of the accepted included, ≥ 80% accepted"


async def test_transactions_that_nodes_drop_after_accepting_them_are_lost(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        await transact(world, rate="4/s")

        async def lossy() -> Judgement:
            for id in list(world.mempool)[:8]:
                del world.mempool[id]
            return await world.evaluate(inclusion())

        world.mempool.clear()  # what was accepted last
        began = anyio.current_time()
        judgement = await lossy()
    lost = judgement.evidence["transactions"]["lost"]
    assert lost > 0
    assert anyio.current_time() - began == pytest.approx(20, abs=1)  # they had their time
    included = judgement.evidence["transactions"]["included"]
    assert judgement.verdict is (Verdict.FAIL if included < 0.95 * 120 else Verdict.PASS)


async def test_a_network_that_includes_nothing_fails(make_world: MakeWorld) -> None:
    world = make_world()
    world.includes = False
    async with world.live():
        await transact(world)
        judgement = await world.evaluate(inclusion())
    assert judgement.verdict is Verdict.FAIL
    assert "included 0 % of 60" in judgement.measured
    assert "60 lost" in judgement.measured


async def test_a_network_that_refuses_valid_transactions_fails(make_world: MakeWorld) -> None:
    world = make_world()
    for node in world.nodes.values():
        node.behaviour.reject = "go away"
    async with world.live():
        await transact(world)
        judgement = await world.evaluate(inclusion())
    assert judgement.verdict is Verdict.FAIL
    assert judgement.measured == "every transaction was refused, 60 in all: go away"
    assert judgement.evidence["transactions"]["reasons"] == {"rejected: go away": 60}


async def test_late_inclusion_is_counted_and_may_be_bounded(make_world: MakeWorld) -> None:
    world = make_world()
    world.includes = False
    async with world.live():
        await transact(world)
        world.includes = True
        await world.blocks(1)
        judgement = await world.evaluate(inclusion())
        assert judgement.verdict is Verdict.PASS
        assert "20 late" in judgement.measured or "late" in judgement.measured
        bounded = await world.evaluate(inclusion(max_p99="10 blocks"))
        assert bounded.verdict is Verdict.FAIL
        assert "p99 ≤ 10 blocks" in bounded.asked


async def test_no_load_no_verdict(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        world.begin()
        world.end()
        judgement = await world.evaluate(inclusion())
    assert judgement.verdict is Verdict.UNKNOWN
    assert judgement.measured == "no workload has sent transactions"


async def test_when_no_node_answered_nothing_is_known(make_world: MakeWorld) -> None:
    world = make_world()
    for node in world.nodes.values():
        node.script.up = False
    async with world.live():
        await transact(world)
        judgement = await world.evaluate(inclusion())
    assert judgement.verdict is Verdict.UNKNOWN
    assert "no node answered any of 10 submissions" in judgement.measured


async def test_when_bodies_could_not_be_read_loss_is_not_known(make_world: MakeWorld) -> None:
    world = make_world()
    for node in world.nodes.values():
        node.script.withheld.update(f"block-{number}" for number in range(1000))
    async with world.live():
        await transact(world)
        judgement = await world.evaluate(inclusion())
    assert judgement.verdict is Verdict.UNKNOWN
    assert "could not be read" in judgement.measured


@pytest.mark.parametrize(("unknown", "verdict"), [(4, Verdict.UNKNOWN), (1, Verdict.PASS), (0, Verdict.PASS)])
async def test_blocks_of_unknown_standing_matter_where_they_decide(
    make_world: MakeWorld, unknown: int, verdict: Verdict
) -> None:
    world = make_world()
    async with world.live():
        await transact(world)
        await world.blocks(8)
        tracker = world.tracker("transactions")
        late = [tracker.offer(world.clock.now(), f"late-{number}") for number in range(unknown)]
        for ticket in late:
            tracker.accepted(ticket)
        tracker.saw(Block(BlockHeader(world.feed.highest, "never shown", "", 0.0), tuple(t.id for t in late)), "x", 0.0)
        await world.blocks(1)
        tracker._canonical = lambda hash, height: None if hash == "never shown" else True
        tracker._window = 10
        await world.blocks(12)
        world.end()
        judgement = await world.evaluate(inclusion())
    assert judgement.evidence["transactions"]["unknown"] == unknown
    assert judgement.verdict is verdict


@pytest.mark.parametrize(("late", "verdict"), [(4, Verdict.PASS), (5, Verdict.UNKNOWN)])
async def test_a_generator_that_was_late_proves_nothing(make_world: MakeWorld, late: int, verdict: Verdict) -> None:
    """Of 64: the 99th percentile is the largest, which a single hiccup is no word on the load."""
    world = make_world()
    async with world.live():
        await transact(world)
        tracker = world.tracker("transactions")
        for _ in range(late):
            tracker.accepted(ticket := tracker.offer(world.clock.now() - 0.2, f"late-{tracker.figures()['offered']}"))
            world.mempool[ticket.id] = Transaction(ticket.id, b"", 0)
        judgement = await world.evaluate(inclusion())
    assert judgement.verdict is verdict, judgement.measured
    if verdict is Verdict.UNKNOWN:
        assert judgement.measured.startswith("the generator sent 200ms late (99th percentile)")


async def test_a_generator_that_dropped_its_load_proves_nothing(make_world: MakeWorld) -> None:
    world = make_world()
    for node in world.nodes.values():
        node.behaviour.delay = 4.0
    async with world.live():
        await transact(world, max_in_flight=2)
        judgement = await world.evaluate(inclusion())
    assert judgement.verdict is Verdict.UNKNOWN
    assert "the generator dropped" in judgement.measured


async def test_two_workloads_are_judged_apart(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        await transact(world)
        refused = world.tracker("transactions#2")
        for _ in range(10):
            refused.rejected(refused.offer(world.clock.now()), "no")
        judgement = await world.evaluate(inclusion())
        assert judgement.verdict is Verdict.FAIL
        assert judgement.measured.startswith("transactions#2: every transaction was refused, 10 in all: no; transac")
        assert (await world.evaluate(inclusion(trackers="transactions"))).verdict is Verdict.PASS


async def test_available_data_passes(make_world: MakeWorld) -> None:
    world = make_world(*NODES)
    async with world.live():
        await disperse(world)
        judgement = await world.evaluate(availability())
    assert judgement.verdict is Verdict.PASS
    assert judgement.measured == (
        "channel: included 100 % of 40; blob: included 100 % of 20, 20 verified, 0 corrupt, 0 unavailable"
    )
    assert judgement.evidence["da.blob"]["found"] == {"verified": 20}


async def test_one_corrupt_blob_fails(make_world: MakeWorld) -> None:
    world = make_world(*NODES)
    async with world.live():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_corrupt_between, world, 10.5, 11.5)
            await disperse(world)
        judgement = await world.evaluate(availability())
    assert judgement.verdict is Verdict.FAIL
    assert "blob: 1 of 20 blobs corrupt, 0 unavailable, 19 verified; included" in judgement.measured


async def _corrupt_between(world: World, start: float, end: float) -> None:
    await anyio.sleep(start)
    for node in world.nodes.values():
        node.behaviour.corrupt = True
    await anyio.sleep(end - start)
    for node in world.nodes.values():
        node.behaviour.corrupt = False


@pytest.mark.parametrize(
    ("trouble", "verdict", "words"),
    [
        ("unavailable", Verdict.FAIL, "20 of 20 blobs unavailable, 0 verified; included 100 %"),
        ("not included", Verdict.FAIL, "included 0 %"),
        ("refused", Verdict.FAIL, "every blob was refused, 20 in all: no"),
        ("unreachable", Verdict.UNKNOWN, "no node answered any of 20"),
    ],
)
async def test_what_is_wrong_with_data(make_world: MakeWorld, trouble: str, verdict: Verdict, words: str) -> None:
    world = make_world(*NODES)
    world.includes = trouble != "not included"
    for node in world.nodes.values():
        node.behaviour.lost = trouble == "unavailable"
        node.behaviour.reject = "no" if trouble == "refused" else ""
        node.script.up = trouble != "unreachable"
    async with world.live():
        await disperse(world, channel_rate=0, read_timeout="2s")
        judgement = await world.evaluate(availability())
    assert judgement.verdict is verdict
    assert words in judgement.measured


async def test_blobs_that_were_never_read_are_unknown(make_world: MakeWorld) -> None:
    world = make_world(*NODES)
    async with world.live():
        blobs = world.tracker("da.blob")
        world.begin()
        for number in range(10):
            await world.nodes["executor-0"].client().disperse("c", b"x")
            blobs.accepted(blobs.offer(world.clock.now()), f"blob-{number}")
        await world.blocks(2)
        world.end()
        judgement = await world.evaluate(availability())
    assert judgement.verdict is Verdict.UNKNOWN
    assert judgement.measured.startswith("10 blobs never read, ")


async def test_no_data_no_verdict(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        world.begin()
        world.end()
        judgement = await world.evaluate(availability())
    assert judgement.verdict is Verdict.UNKNOWN
    assert judgement.measured == "nothing was offered: no da workload"


async def test_a_glob_that_names_no_record_is_told(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        await transact(world)
        judgement = await world.evaluate(inclusion(trackers="nope*"))
    assert judgement.verdict is Verdict.UNKNOWN
    assert judgement.measured == 'no record of submissions is called "nope*"; there are: transactions'


@pytest.mark.parametrize(
    ("accepted", "rejected", "cut_off", "verdict", "words"),
    [
        (1, 0, 2, Verdict.UNKNOWN, "2 of 3 submissions were cut off before any node had answered: accepted 100 % of 1"),
        (0, 0, 3, Verdict.UNKNOWN, "no node answered any of 3 submissions (3 were cut off)"),
        (9, 0, 1, Verdict.PASS, "included 100 % of 9"),
        (1, 9, 1, Verdict.FAIL, "accepted 9 % of 11 sent, 9 rejected: nonce too low"),
    ],
)
async def test_what_the_harness_cut_off_is_not_held_against_the_network(
    make_world: MakeWorld, accepted: int, rejected: int, cut_off: int, verdict: Verdict, words: str
) -> None:
    world = make_world()
    async with world.live():
        tracker = world.tracker("transactions")
        world.begin()
        for number in range(accepted + rejected + cut_off):
            ticket = tracker.offer(world.clock.now())
            if number < accepted:
                receipt = await world.nodes["validator-0"].client().disperse("c", b"x")
                tracker.accepted(ticket, receipt.id)
            elif number < accepted + rejected:
                tracker.rejected(ticket, "nonce too low")
        await world.blocks(2)
        world.end()
        judgement = await world.evaluate(inclusion())
    assert judgement.verdict is verdict
    assert judgement.measured.startswith(words)


async def test_what_decided_comes_first(make_world: MakeWorld) -> None:
    world = make_world()
    async with world.live():
        await transact(world)
        judgement = await world.evaluate(inclusion(max_p99="1ms"))
    assert judgement.verdict is Verdict.FAIL
    assert re.match(r"p99 \S+ is over 1ms: included 100 % of 60, ", judgement.measured)
