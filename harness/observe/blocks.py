"""Blocks as an observer sees them, and where they are read from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Head:
    """What a node says of itself: its best block, its last final height, whether it is still catching up."""

    height: int
    hash: str
    final_height: int
    syncing: bool = False


@dataclass(frozen=True, slots=True)
class BlockHeader:
    """One block on a node's best chain. `time` is the header's own (Unix seconds); `proposer` a node name or "".

    `accused`: whom the block proves to have signed twice, where the chain has evidence in its blocks: node names, and
    what the chain calls those that are no nodes."""

    height: int
    hash: str
    parent: str
    time: float
    proposer: str = ""
    tx_count: int = 0
    accused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Block:
    """A whole block: its header and the ids of its transactions."""

    header: BlockHeader
    tx_ids: tuple[str, ...]


class BlockSource(Protocol):
    """Where the feed reads one node's blocks: a chain client, or anything like it."""

    async def head(self) -> Head: ...

    def follow(self, after: int) -> AsyncIterator[BlockHeader]:
        """Headers of this node's best chain above height `after`, in order, then each new one as it is made.

        After a reorganisation the headers come again from the fork point on, with their new hashes.
        Ends only by raising Unreachable; the caller connects again."""
        ...

    async def block(self, hash: str, height: int) -> Block: ...

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True)
class BlockSeen:
    """The feed saw a block at a node. `at` is monotonic seconds, `wall` Unix seconds, of the seeing.

    `live` is False for blocks that were made before the feed (re)connected to this node: their `at` says
    nothing about when the node got them."""

    node: str
    header: BlockHeader
    at: float
    wall: float
    live: bool = True
