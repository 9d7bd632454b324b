"""A feed on chains that were there long before it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import anyio
import pytest

from harness.observe.feed import BlockFeed
from tests.observe.scripted_node import ScriptedNode, chain_of, header
from tests.observe.virtual_time import LoopClock

pytestmark = pytest.mark.anyio

HEIGHT = 100_000
DEPTH = 6
LONG = chain_of(*(f"b{i}" for i in range(HEIGHT + 1)))


class Followed:
    def __init__(self, floor: int | None, nodes: Mapping[str, ScriptedNode]) -> None:
        self.feed = BlockFeed({name: node.source for name, node in nodes.items()}, DEPTH, LoopClock())
        self.seen: dict[str, list[int]] = {name: [] for name in nodes}
        self.feed.subscribe(lambda seen: self.seen[seen.node].append(seen.header.height))
        if floor is not None:
            self.feed.begin_at(floor)


@asynccontextmanager
async def follow(floor: int | None = None, **nodes: ScriptedNode) -> AsyncIterator[Followed]:
    followed = Followed(floor, nodes)
    async with anyio.create_task_group() as tasks:
        await tasks.start(lambda *, task_status: followed.feed.run(task_status=task_status))
        await anyio.wait_all_tasks_blocked()
        yield followed
        tasks.cancel_scope.cancel()


async def test_a_long_chain_is_read_from_near_its_head() -> None:
    async with follow(a=ScriptedNode(LONG)) as followed:
        assert followed.seen["a"][-1] == HEIGHT
        assert len(followed.seen["a"]) == followed.feed.window


async def test_all_begin_at_one_height_so_that_all_final_blocks_can_be_compared_and_forgotten() -> None:
    ahead, behind = ScriptedNode(LONG), ScriptedNode(LONG[:-3])
    async with follow(HEIGHT - DEPTH - 1, a=ahead, b=behind) as followed:
        assert followed.seen == {
            "a": list(range(HEIGHT - DEPTH, HEIGHT + 1)),
            "b": list(range(HEIGHT - DEPTH, HEIGHT - 2)),
        }
        ledger = followed.feed.finality
        for height in range(HEIGHT - 2, HEIGHT + 2 * followed.feed.window):
            for node in (ahead, behind):
                if node.head.height < height:
                    node.grow(f"b{height}")
            await anyio.wait_all_tasks_blocked()
        assert ledger.lowest == HEIGHT - DEPTH
        assert ledger.compared == ledger.highest - ledger.lowest + 1
        assert len(ledger) <= followed.feed.window
        assert ledger.uncompared == 0


async def test_a_node_far_behind_is_followed_from_where_it_is_and_drags_nobody_down() -> None:
    straggler = ScriptedNode(LONG[:50_001])
    async with follow(HEIGHT - DEPTH - 1, a=ScriptedNode(LONG), b=straggler) as followed:
        assert followed.seen["b"] == [50_000]
        for height in range(50_001, 50_020):
            straggler.grow(f"b{height}")
            await anyio.wait_all_tasks_blocked()
        assert followed.feed.nodes["b"].height == 50_019
        assert followed.feed.nodes["b"].final_height == 50_019 - DEPTH
        assert followed.feed.finality.lowest == HEIGHT - DEPTH
        assert followed.feed.finality.witnessed == {"a": 1, "b": 0}


async def test_a_fork_just_above_where_it_began_is_seen() -> None:
    fork = LONG[: HEIGHT - DEPTH]
    for height in range(HEIGHT - DEPTH, HEIGHT + 1):
        fork.append(header(height, f"c{height}", fork[-1].hash))
    async with follow(HEIGHT - DEPTH - 1, a=ScriptedNode(LONG), b=ScriptedNode(fork)) as followed:
        assert followed.feed.conflict_count == 1
        assert followed.feed.conflicts[0].height == HEIGHT - DEPTH
