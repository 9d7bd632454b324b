"""Nodes that tell the headers that a test gives them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import anyio

from harness.api import (
    Block,
    BlockHeader,
    Head,
    Unreachable,
)


def header(height: int, hash: str, parent: str, time: float = 0.0, proposer: str = "") -> BlockHeader:
    return BlockHeader(height, hash, parent, time, proposer)


def chain_of(*names: str) -> list[BlockHeader]:
    """Headers with these hashes, one on the other, from height 0 on."""
    return [header(i, name, names[i - 1] if i else "") for i, name in enumerate(names)]


class ScriptedNode:
    """A node's chain as its API shows it. `bodies` holds transactions by block hash."""

    def __init__(self, chain: Sequence[BlockHeader]) -> None:
        self.chain = list(chain)
        self.bodies: dict[str, tuple[str, ...]] = {}
        self.up = True
        self.withheld: set[str] = set()  # bodies that it says it does not have
        self.broken: Exception | None = None  # what its client raises, if anything
        self.connections = 0
        self.bodies_asked: list[str] = []
        self._changed = anyio.Event()

    @property
    def head(self) -> BlockHeader:
        return self.chain[-1]

    def change(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def grow(self, hash: str, time: float = 0.0) -> None:
        self.chain.append(header(self.head.height + 1, hash, self.head.hash, time))
        self.change()

    def replace(self, chain: Sequence[BlockHeader]) -> None:
        self.chain = list(chain)
        self.change()

    def go(self, up: bool) -> None:
        self.up = up
        self.change()

    def source(self) -> _Source:
        return _Source(self)

    def check(self) -> None:
        if self.broken is not None:
            raise self.broken
        if not self.up:
            raise Unreachable("connection refused")


class _Source:
    def __init__(self, node: ScriptedNode) -> None:
        self.node = node

    async def head(self) -> Head:
        await anyio.lowlevel.checkpoint()
        self.node.check()
        self.node.connections += 1
        return Head(self.node.head.height, self.node.head.hash, 0)

    async def follow(self, after: int) -> AsyncIterator[BlockHeader]:
        sent: dict[int, str] = {}
        while True:
            self.node.check()
            changed, fresh = self.node._changed, None
            for block in self.node.chain[after + 1 :]:
                if sent.get(block.height) != block.hash:
                    fresh = block
                    break
            if fresh is None:
                await changed.wait()
                continue
            sent = {height: hash for height, hash in sent.items() if height < fresh.height}
            sent[fresh.height] = fresh.hash
            yield fresh

    async def block(self, hash: str, height: int) -> Block:
        await anyio.lowlevel.checkpoint()
        self.node.check()
        self.node.bodies_asked.append(hash)
        if hash in self.node.withheld or height >= len(self.node.chain) or self.node.chain[height].hash != hash:
            raise LookupError(hash)
        return Block(self.node.chain[height], self.node.bodies.get(hash, ()))

    async def aclose(self) -> None:
        await anyio.lowlevel.checkpoint()
