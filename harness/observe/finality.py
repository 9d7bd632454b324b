"""Final blocks of all nodes, compared height by height: where two nodes disagree, the chain has forked for good."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two final blocks at one height. `blocks` maps each block's hash to the nodes that had it final.

    `reverted_by` names the node that replaced a final block of its own; "" when nodes disagree with each other.
    `at` is the moment (monotonic seconds) when it was seen."""

    height: int
    blocks: Mapping[str, tuple[str, ...]]
    at: float
    reverted_by: str = ""

    def __str__(self) -> str:
        if self.reverted_by:
            was, now = self.blocks
            return f"{self.reverted_by} replaced its final block {was[:12]} at height {self.height} by {now[:12]}"
        sides = " against ".join(f"{hash[:12]} on {', '.join(nodes)}" for hash, nodes in self.blocks.items())
        return f"final blocks differ at height {self.height}: {sides}"


class FinalityLedger:
    """Who has which block final, at every height not yet agreed upon by all.

    A height is forgotten once all nodes agree on it and `window` further ones have been seen, and at the
    latest when `limit` heights are held: then the oldest go, compared or not, and `uncompared` says so."""

    def __init__(self, window: int, limit: int = 20_000) -> None:
        self._window = window
        self._limit = max(limit, window)
        self._bits: dict[str, int] = {}
        self._gone = 0
        self._heights: dict[int, dict[str, int]] = {}  # height → hash → bit set of nodes
        self.floor = -1
        """Blocks up to this height are not compared: they were there before anybody looked."""
        self.highest = -1
        """The highest height that is final anywhere, -1 before the first."""
        self.lowest = -1
        """The lowest height that any node has shown as final, -1 before the first."""
        self.uncompared = 0
        """Final blocks that were compared with no other node's because the ledger was full: the oldest heights, where
        one node alone had shown them, and blocks of such heights that came too late."""
        self._dropped = -1  # the highest height that went because the ledger was full
        self.compared = 0
        """At how many heights the final blocks of two nodes or more were compared."""
        self.witnessed: dict[str, int] = {}
        """How many final blocks each node has shown."""

    def __len__(self) -> int:
        return len(self._heights)

    def join(self, node: str) -> None:
        """From now on a height is not agreed upon by all before this node has shown it, too."""
        self._gone &= ~self._bits.setdefault(node, 1 << len(self._bits))
        self.witnessed.setdefault(node, 0)

    def leave(self, node: str) -> None:
        """This node need not show anything any more. What it has shown stays."""
        self._gone |= self._bits[node]

    def add(self, node: str, height: int, hash: str, at: float) -> Conflict | None:
        """`node` has this block final. Returns a conflict when it is a new block at this height, beside another."""
        if height <= self.floor:
            return None
        self.witnessed[node] += 1
        self.lowest = height if self.lowest < 0 else min(self.lowest, height)
        if height <= self._dropped:
            self.uncompared += 1
            return None
        blocks = self._heights.setdefault(height, {})
        bit, new = self._bits[node], hash not in blocks
        shown = functools.reduce(operator.or_, blocks.values(), 0)
        if shown.bit_count() == 1 and not shown & bit:
            self.compared += 1
        blocks[hash] = blocks.get(hash, 0) | bit
        if height > self.highest:
            self.highest = height
            self._forget()
        if new and len(blocks) > 1:
            return Conflict(height, {other: self._names(bits) for other, bits in blocks.items()}, at)
        return None

    def _names(self, bits: int) -> tuple[str, ...]:
        return tuple(name for name, bit in self._bits.items() if bits & bit)

    def _forget(self) -> None:
        everyone = (1 << len(self._bits)) - 1
        agreed = []
        for height, blocks in self._heights.items():
            if height > self.highest - self._window:
                break
            if len(blocks) == 1 and next(iter(blocks.values())) | self._gone != everyone:
                break  # someone is behind; the heights above it wait, too
            agreed.append(height)
        for height in agreed:
            del self._heights[height]
        while len(self._heights) > self._limit:
            self._drop(next(iter(self._heights)))

    def _drop(self, height: int) -> None:
        blocks = self._heights.pop(height)
        self._dropped = max(self._dropped, height)
        shown = functools.reduce(operator.or_, blocks.values(), 0)
        if shown.bit_count() == 1 and len(self._bits) > 1:
            self.uncompared += 1
