"""The tree of known blocks and the choice of the best chain: the longest; of equals, the tip with the lower draw.

A block with k others on top of it is final: the choice never goes back behind it (the security parameter of
Nakamoto-style protocols), and what would is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Node:
    """What fork choice needs of a block. `draw` is its proposer's in the lottery."""

    hash: str
    parent: str
    height: int
    slot: int
    draw: int
    proposer: str = ""
    tx_count: int = 0

    @property
    def rank(self) -> tuple[int, int, str]:
        """Higher is better; the hash settles what two blocks of one proposer and slot would leave open."""
        return self.height, -self.draw, self.hash


@dataclass(frozen=True, slots=True)
class HeadChange:
    """The best chain moved: `abandoned` left it (tip first), `adopted` joined it (lowest first)."""

    abandoned: tuple[Node, ...]
    adopted: tuple[Node, ...]


class UnknownParent(Exception):
    """The block's parent is not here (yet)."""


class TooDeep(Exception):
    """The block's chain leaves ours below a final block."""


class BlockTree:
    """All blocks since genesis that do not conflict with a final one."""

    def __init__(self, genesis: Node, k: int) -> None:
        self._k = k
        self._nodes = {genesis.hash: genesis}
        self._main = [genesis.hash]

    def __contains__(self, hash: str) -> bool:
        return hash in self._nodes

    def __len__(self) -> int:
        return len(self._nodes)

    def get(self, hash: str) -> Node | None:
        return self._nodes.get(hash)

    @property
    def head(self) -> Node:
        return self._nodes[self._main[-1]]

    @property
    def final_height(self) -> int:
        """The highest final block's height. Never falls."""
        return max(0, len(self._main) - 1 - self._k)

    def at(self, height: int) -> Node:
        """The best chain's block at this height. Raises IndexError."""
        if height < 0:
            raise IndexError(height)
        return self._nodes[self._main[height]]

    def is_main(self, hash: str) -> bool:
        node = self._nodes.get(hash)
        return node is not None and node.height < len(self._main) and self._main[node.height] == hash

    def fork_point(self, hash: str) -> Node:
        """The nearest ancestor (itself included) of a known block that is on the best chain."""
        node = self._nodes[hash]
        while not self.is_main(node.hash):
            node = self._nodes[node.parent]
        return node

    def admit(self, parent: str) -> Node:
        """The parent of a block to come, if such a block may be added. Raises UnknownParent, TooDeep."""
        if parent not in self._nodes:
            raise UnknownParent(parent)
        fork = self.fork_point(parent)
        if fork.height < self.final_height:
            raise TooDeep(f"a chain that forks at height {fork.height}, below the final height {self.final_height}")
        return self._nodes[parent]

    def add(self, node: Node) -> HeadChange | None:
        """Add a block; returns how the best chain moved, None if it did not (or the block was known).

        Raises UnknownParent, TooDeep."""
        if node.hash in self._nodes:
            return None
        self.admit(node.parent)
        self._nodes[node.hash] = node
        if node.rank <= self.head.rank:
            return None
        return self._switch(node)

    def _switch(self, tip: Node) -> HeadChange:
        adopted = []
        node = tip
        while not self.is_main(node.hash):
            adopted.append(node)
            node = self._nodes[node.parent]
        abandoned = tuple(self._nodes[hash] for hash in reversed(self._main[node.height + 1 :]))
        adopted.reverse()
        self._main[node.height + 1 :] = [n.hash for n in adopted]
        return HeadChange(abandoned, tuple(adopted))

    def locator(self) -> list[str]:
        """Hashes of the best chain from the tip down, ever further apart, genesis last: says where we are in few
        words, as in Bitcoin's getblocks."""
        hashes, height, step = [], len(self._main) - 1, 1
        while height > 0:
            hashes.append(self._main[height])
            if len(hashes) >= 10:
                step *= 2
            height -= step
        return [*hashes, self._main[0]]

    def after_locator(self, locator: Sequence[str], limit: int) -> list[Node]:
        """Up to `limit` blocks of the best chain that follow the first hash of `locator` which is on it."""
        start = next((self._nodes[h].height for h in locator if self.is_main(h)), 0)
        return [self._nodes[hash] for hash in self._main[start + 1 : start + 1 + limit]]

    def above(self, height: int, hash: str, limit: int) -> list[Node]:
        """What a follower who last saw block (`height`, `hash`) has to see next: the best chain above it, or above
        the fork point if it is no longer there. An unknown hash starts again from the final height."""
        if hash and hash in self._nodes:
            height = self.fork_point(hash).height
        elif hash:
            height = min(height, self.final_height)
        return [self._nodes[h] for h in self._main[height + 1 : height + 1 + limit]]
