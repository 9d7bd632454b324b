"""A feed over scripted nodes, and what it told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio

from harness.observe.blocks import BlockSeen
from harness.observe.feed import BlockFeed
from tests.observe.scripted_node import ScriptedNode
from tests.observe.virtual_time import LoopClock


class Watched:
    """A feed over scripted nodes, and all that it told."""

    def __init__(self, depth: int = 2, **nodes: ScriptedNode) -> None:
        self.nodes = nodes
        self.feed = BlockFeed({name: node.source for name, node in nodes.items()}, depth, LoopClock())
        self.seen: list[BlockSeen] = []
        self.connections: list[tuple[str, bool, str]] = []
        self.feed.subscribe(self.seen.append)
        self.feed.on_connection(lambda *change: self.connections.append(change))

    def hashes(self, node: str) -> list[str]:
        return [seen.header.hash for seen in self.seen if seen.node == node]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Watched]:
        async with anyio.create_task_group() as tasks:
            await tasks.start(self._run)
            await settled()
            yield self
            tasks.cancel_scope.cancel()

    async def _run(self, *, task_status: Any) -> None:
        await self.feed.run(task_status=task_status)


async def settled() -> None:
    """Until nothing happens any more without time passing."""
    await anyio.wait_all_tasks_blocked()
