"""The last blocks that were seen, and where in them a transaction is."""

from __future__ import annotations

from collections.abc import Iterator

from harness.observe.blocks import Block


class RecentBlocks:
    """So many blocks at most, the oldest go first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._blocks: dict[str, tuple[Block, float]] = {}
        self._whereabouts: dict[str, tuple[str, ...]] = {}  # id → hashes of the blocks that it is in

    def add(self, block: Block, at: float) -> bool:
        """Remember a block, seen at this moment; False if it is known already."""
        hash = block.header.hash
        if hash in self._blocks:
            return False
        self._blocks[hash] = block, at
        if len(self._blocks) > self._most:
            self._let_go(next(iter(self._blocks)))
        for id in dict.fromkeys(block.tx_ids):
            self._whereabouts[id] = (*self._whereabouts.get(id, ()), hash)
        return True

    def holding(self, id: str) -> Iterator[tuple[Block, float]]:
        """The blocks with this transaction in them, and when they were seen."""
        for hash in self._whereabouts.get(id, ()):
            yield self._blocks[hash]

    def _let_go(self, hash: str) -> None:
        block, _ = self._blocks.pop(hash)
        for id in dict.fromkeys(block.tx_ids):
            if others := tuple(other for other in self._whereabouts[id] if other != hash):
                self._whereabouts[id] = others
            else:
                del self._whereabouts[id]
