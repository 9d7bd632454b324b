"""What a feed tells of the blocks of nodes that fork, fail and come back."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from harness.observe.blocks import Block, BlockSeen
from tests.observe.scripted_node import ScriptedNode, chain_of, header
from tests.observe.watched import Watched, settled

pytestmark = pytest.mark.anyio


async def test_blocks_of_every_node_are_seen_once_and_old_ones_are_not_live() -> None:
    watched = Watched(a=ScriptedNode(chain_of("g", "a1", "a2")), b=ScriptedNode(chain_of("g", "a1")))
    async with watched.running():
        assert watched.hashes("a") == ["a1", "a2"]
        assert not any(seen.live for seen in watched.seen)
        watched.nodes["b"].grow("a2")
        await settled()
    assert watched.hashes("b") == ["a1", "a2"]
    assert [seen.live for seen in watched.seen if seen.node == "b"] == [False, True]
    assert watched.feed.highest == 2
    view = watched.feed.nodes["b"]
    assert (view.height, view.hash, view.final_height, view.connected) == (2, "a2", -1, True)


async def test_one_connection_a_node_however_many_blocks() -> None:
    node = ScriptedNode(chain_of("g"))
    async with Watched(a=node).running():
        for i in range(50):
            node.grow(f"b{i}")
            await settled()
    assert node.connections == 1


async def test_a_reorganisation_replaces_the_chain_from_the_fork_point() -> None:
    node = ScriptedNode(chain_of("g", "a1", "a2"))
    watched = Watched(a=node, depth=5)
    async with watched.running():
        node.replace(chain_of("g", "a1", "b2", "b3"))
        await settled()
    assert watched.hashes("a") == ["a1", "a2", "b2", "b3"]
    view = watched.feed.nodes["a"]
    assert view.chain == {1: "a1", 2: "b2", 3: "b3"}
    assert view.reorganisations == 1
    assert all(seen.live for seen in watched.seen if seen.header.hash.startswith("b"))
    assert watched.feed.conflicts == []


async def test_a_lost_node_is_found_again_and_what_it_missed_is_not_live() -> None:
    node = ScriptedNode(chain_of("g", "a1"))
    watched = Watched(a=node)
    async with watched.running():
        node.go(up=False)
        await anyio.sleep(10)
        assert not watched.feed.nodes["a"].connected
        assert "refused" in watched.feed.nodes["a"].error
        node.chain = chain_of("g", "a1", "a2")
        node.go(up=True)
        await anyio.sleep(1.1)
        assert watched.feed.nodes["a"].connected
        node.grow("a3")
        await settled()
    assert [(seen.header.hash, seen.live) for seen in watched.seen] == [("a1", False), ("a2", False), ("a3", True)]
    assert [change[1] for change in watched.connections] == [True, False, True]


async def test_a_node_that_reorganised_while_it_was_lost_is_read_again_from_below() -> None:
    node = ScriptedNode(chain_of("g", "a1", "a2", "a3", "a4", "a5"))
    watched = Watched(a=node, depth=10)
    async with watched.running():
        node.go(up=False)
        await anyio.sleep(1)
        node.chain = chain_of("g", "a1", "b2", "b3", "b4", "b5", "b6")
        node.go(up=True)
        await anyio.sleep(2)
    assert list(watched.feed.nodes["a"].chain.values()) == ["a1", "b2", "b3", "b4", "b5", "b6"]
    assert watched.feed.nodes["a"].height == 6


async def test_a_node_that_lost_its_data_is_lower_than_it_was() -> None:
    node = ScriptedNode(chain_of("g", "a1", "a2", "a3", "a4"))
    watched = Watched(a=node, depth=1)
    async with watched.running():
        node.go(up=False)
        await anyio.sleep(1)
        node.chain = chain_of("g", "a1")
        node.go(up=True)
        await anyio.sleep(2)
        assert watched.feed.nodes["a"].height == 1
        node.grow("a2")
        await settled()
    assert watched.feed.nodes["a"].height == 2
    assert watched.feed.conflicts == []


async def test_whatever_a_client_raises_ends_up_in_the_view_and_other_nodes_go_on() -> None:
    bad, good = ScriptedNode(chain_of("g")), ScriptedNode(chain_of("g"))
    bad.broken = KeyError("result")
    watched = Watched(bad=bad, good=good)
    async with watched.running():
        await anyio.sleep(5)
        good.grow("a1")
        await settled()
        assert "KeyError" in watched.feed.nodes["bad"].error
        assert watched.feed.nodes["good"].height == 1
        bad.broken = None
        await anyio.sleep(1.1)
        assert watched.feed.nodes["bad"].connected
    assert [change[:2] for change in watched.connections if change[0] == "bad"] == [("bad", False), ("bad", True)]


async def test_a_node_whose_headers_never_join_is_followed_and_does_not_spin() -> None:
    node = ScriptedNode(chain_of("g", "a1"))
    watched = Watched(a=node)
    async with watched.running():
        for height in range(2, 30):
            node.chain.append(header(height, f"x{height}", "nonsense"))
            node.change()
            await settled()
    assert watched.feed.nodes["a"].height == 29


async def test_a_subscriber_that_raises_is_dropped_and_told_and_the_others_go_on() -> None:
    node = ScriptedNode(chain_of("g", "a1"))
    watched = Watched(a=node)
    told: list[tuple[str, Exception]] = []
    bug = RuntimeError("subscriber")

    def broken(*_: object) -> None:
        raise bug

    def broken_too(who: str, error: Exception) -> None:
        raise ValueError(who)

    watched.feed.subscribe(broken)
    watched.feed.on_body(broken)
    watched.feed.on_defect(broken_too)
    watched.feed.on_defect(lambda who, error: told.append((who, error)))
    async with watched.running():
        node.grow("a2")
        await settled()
    assert watched.hashes("a") == ["a1", "a2"]
    assert [error for _, error in told] == [bug, bug]
    assert told[0][0].endswith("broken")
    assert [type(error) for _, error in watched.feed.defects] == [RuntimeError, ValueError, RuntimeError]
    assert all(connected for _, connected, _ in watched.connections)


async def test_a_subscription_can_be_ended_by_whoever_is_being_told() -> None:
    node = ScriptedNode(chain_of("g"))
    watched = Watched(a=node)
    told: list[str] = []

    def once(seen: BlockSeen) -> None:
        told.append(seen.header.hash)
        for end in ends:
            end()

    ends = [watched.feed.subscribe(once), watched.feed.subscribe(lambda seen: told.append("never"))]
    async with watched.running():
        node.grow("a1")
        node.grow("a2")
        await settled()
    assert told == ["a1"]


async def test_a_stream_that_cannot_be_closed_is_a_lost_connection() -> None:
    good, bad = ScriptedNode(chain_of("g")), ScriptedNode(chain_of("g"))

    class Stubborn(type(bad.source())):  # type: ignore[misc]
        async def follow(self, after: int) -> AsyncIterator[Any]:
            try:
                async for block in super().follow(after):
                    yield block
            finally:
                raise RuntimeError("no way to close")

    watched = Watched(good=good)
    watched.feed.add("bad", lambda: Stubborn(bad))
    async with watched.running():
        bad.chain = chain_of("g", "a1", "a2")
        bad.chain[2] = header(2, "a2", "nonsense")  # does not join on: the stream is closed and read again
        bad.change()
        await settled()
        good.grow("a1")
        await settled()
        assert "no way to close" in watched.feed.nodes["bad"].error
    assert watched.hashes("good") == ["a1"]


async def test_what_a_condition_raises_is_its_waiters() -> None:
    node = ScriptedNode(chain_of("g", "a1"))
    asked: list[int] = []

    def condition() -> bool:
        asked.append(1)
        if len(asked) > 1:
            raise KeyError("gone")
        return False

    async with Watched(a=node).running() as watched, anyio.create_task_group() as tasks:
        tasks.start_soon(_grow_after, node, 1.0)
        with pytest.raises(KeyError, match="gone"):
            await watched.feed.wait(condition, timeout=10)
        node.grow("a3")
        assert await watched.feed.wait_height(3, timeout=10)
    assert len(asked) == 2


async def test_different_final_blocks_are_a_conflict_as_soon_as_the_second_is_final() -> None:
    a, b = ScriptedNode(chain_of("g", "a1", "a2", "a3")), ScriptedNode(chain_of("g", "b1", "b2"))
    watched = Watched(a=a, b=b, depth=2)
    told: list[Any] = []
    watched.feed.on_conflict(told.append)
    async with watched.running():
        assert watched.feed.conflicts == []  # b1 has only one block on top of it
        b.grow("b3")
        await settled()
    [conflict] = watched.feed.conflicts
    assert told == [conflict]
    assert conflict.height == 1
    assert conflict.blocks == {"a1": ("a",), "b1": ("b",)}
    assert "height 1" in str(conflict)


async def test_a_node_that_replaces_its_own_final_block_is_a_conflict() -> None:
    node = ScriptedNode(chain_of("g", "a1", "a2", "a3"))
    watched = Watched(a=node, depth=2)
    async with watched.running():
        node.replace(chain_of("g", "b1", "b2", "b3", "b4"))
        await settled()
    first = watched.feed.conflicts[0]
    assert (first.height, first.reverted_by, list(first.blocks)) == (1, "a", ["a1", "b1"])
    assert watched.feed.nodes["a"].final == {1: "b1", 2: "b2"}


async def test_a_late_node_is_compared_with_what_the_others_had() -> None:
    a = ScriptedNode(chain_of("g", *(f"a{i}" for i in range(1, 900))))
    late = ScriptedNode(chain_of("g", *(f"a{i}" for i in range(1, 50)), "wrong", *(f"w{i}" for i in range(51, 900))))
    late.up = False
    watched = Watched(a=a, late=late, depth=2)
    async with watched.running():
        late.go(up=True)
        await anyio.sleep(2)
    assert watched.feed.conflict_count > 0
    assert watched.feed.finality.compared > 200


async def test_canonical_is_what_most_nodes_have() -> None:
    nodes = {
        "a": ScriptedNode(chain_of("g", "x1", "x2")),
        "b": ScriptedNode(chain_of("g", "x1", "x2")),
        "c": ScriptedNode(chain_of("g", "y1", "y2", "y3")),
    }
    watched = Watched(**nodes)
    async with watched.running():
        feed = watched.feed
        assert feed.canonical("x1", 1) is True
        assert feed.canonical("y1", 1) is False
        assert feed.canonical("y3", 3) is True
        assert feed.canonical("z", 99) is None
        feed.remove("b")
        assert feed.canonical("y1", 1) is True  # one against one: the higher chain


async def test_each_body_is_fetched_once_and_from_another_node_when_the_first_fails() -> None:
    a, b = ScriptedNode(chain_of("g")), ScriptedNode(chain_of("g"))
    watched = Watched(a=a, b=b)
    bodies: list[tuple[Block, str, float]] = []
    async with watched.running():
        a.grow("early")
        b.grow("early")
        await settled()
        assert a.bodies_asked == b.bodies_asked == []  # nobody has asked for bodies so far
        watched.feed.on_body(lambda *body: bodies.append(body))
        a.bodies["a2"] = b.bodies["a2"] = ("t1", "t2")
        grown_at = anyio.current_time()
        a.grow("a2")
        b.grow("a2")
        await settled()
        assert [(block.tx_ids, at) for block, _, at in bodies] == [(("t1", "t2"), grown_at)]
        assert len(a.bodies_asked + b.bodies_asked) == 1
        a.withheld.add("a3")
        b.bodies["a3"] = ("t3",)
        grown_at = anyio.current_time()
        a.grow("a3")
        await settled()
        assert watched.feed.bodies_missing == 1
        await anyio.sleep(5)
        b.grow("a3")
        await settled()
    assert watched.feed.bodies_missing == 0
    block, node, at = bodies[-1]
    assert (block.tx_ids, node) == (("t3",), "a")
    assert at == grown_at  # when it was first seen, not when its body was had


async def test_a_body_that_nobody_gives_is_counted_as_missing() -> None:
    node = ScriptedNode(chain_of("g"))
    watched = Watched(a=node)
    watched.feed.on_body(lambda *body: None)
    node.withheld.add("a1")
    async with watched.running():
        node.grow("a1")
        for i in range(2, 400):
            node.grow(f"a{i}")
        await settled()
        asked = node.bodies_asked.count("a1")
        node.grow("last")
        await settled()
        assert node.bodies_asked.count("a1") == asked  # too old to be asked for
    assert watched.feed.bodies_missing == 1


async def test_waiting_for_a_height() -> None:
    a, b = ScriptedNode(chain_of("g", "a1")), ScriptedNode(chain_of("g"))
    async with Watched(a=a, b=b).running() as watched:
        feed = watched.feed
        assert await feed.wait_height(1, all_nodes=False)
        assert await feed.wait_height(1, nodes=["a"])
        began = anyio.current_time()
        assert not await feed.wait_height(1, timeout=3)
        assert anyio.current_time() == began + 3
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_grow_after, b, 2.0)
            assert await feed.wait_height(1, timeout=60)
        assert anyio.current_time() == began + 5


async def _grow_after(node: ScriptedNode, seconds: float) -> None:
    await anyio.sleep(seconds)
    node.grow("a1")


async def test_nodes_come_and_go() -> None:
    a, b = ScriptedNode(chain_of("g", "a1")), ScriptedNode(chain_of("g", "a1"))
    async with Watched(a=a).running() as watched:
        watched.feed.add("b", b.source)
        await settled()
        assert watched.feed.nodes["b"].height == 1
        with pytest.raises(ValueError, match="already"):
            watched.feed.add("b", b.source)
        watched.feed.remove("b")
        await settled()
        b.grow("a2")
        await settled()
        assert set(watched.feed.nodes) == {"a"}
        assert watched.hashes("b") == ["a1"]


async def test_memory_does_not_grow_with_the_chain() -> None:
    a, b, dead = (ScriptedNode(chain_of("g")) for _ in range(3))
    dead.up = False
    watched = Watched(a=a, b=b, dead=dead)
    watched.feed.on_body(lambda *body: None)
    feed = watched.feed
    sizes = []
    async with watched.running():
        for _ in range(3):
            for i in range(1500):
                hash = f"h{a.head.height + 1}-{i}"
                a.grow(hash)
                b.grow(hash)
                if i % 100 == 0:
                    await settled()
            await settled()
            watched.seen.clear()
            view = feed.nodes["a"]
            sizes.append((len(view.chain), len(view.final), len(feed._bodies._had), sys.getsizeof(view.chain)))
    assert sizes[0] == sizes[1] == sizes[2]
    assert sizes[0][0] <= feed.window + 1
    assert feed.finality.compared == 4500 - feed.finality_depth


async def test_a_height_agreed_by_all_is_forgotten_and_the_rest_is_bounded() -> None:
    from harness.observe.finality import FinalityLedger

    ledger = FinalityLedger(window=10, limit=50)
    for node in ("a", "b"):
        ledger.join(node)
    for height in range(100):
        ledger.add("a", height, f"h{height}", 0.0)
    assert len(ledger) == 50  # b is behind: the limit holds
    for height in range(100):
        ledger.add("b", height, f"h{height}", 0.0)
    ledger.add("a", 100, "h100", 0.0)
    ledger.add("b", 100, "h100", 0.0)
    ledger.add("a", 101, "h101", 0.0)
    assert len(ledger) <= 11 + 50
    ledger.leave("b")
    for height in range(102, 300):
        assert ledger.add("a", height, f"h{height}", 0.0) is None
    assert len(ledger) <= 11
