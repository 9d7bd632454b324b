"""Block bodies: each fetched once, from whichever node has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.observe.blocks import Block, BlockSource


@dataclass(slots=True)
class _Wanted:
    height: int
    node: str
    at: float
    failed: bool = False  # a node that has the block did not give it


class Bodies:
    """Which bodies are still to be fetched.

    A body that one node failed to give stays wanted until another gives it, or it is `window` blocks old."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._wanted: dict[str, _Wanted] = {}
        self._asked: set[str] = set()  # being fetched just now
        self._had: dict[str, None] = {}  # in order, so that the oldest can be forgotten
        self._highest = -1
        self._missed = 0

    @property
    def missing(self) -> int:
        """Bodies that some node failed to give and none has given since, those included that have become too old to
        be asked for. One that is being fetched for the first time is not missing."""
        return self._missed + sum(wanted.failed for wanted in self._wanted.values())

    def want(self, hash: str, height: int, node: str, at: float) -> None:
        """A block that was seen at a node, at this moment. Nothing happens if it was seen before."""
        if height > self._highest:
            self._highest = height
            for old in [old for old, wanted in self._wanted.items() if wanted.height <= height - self._window]:
                del self._wanted[old]
                self._missed += 1
        if hash not in self._had and height > self._highest - self._window:
            self._wanted.setdefault(hash, _Wanted(height, node, at))

    def offered_by(self, chain: Mapping[int, str]) -> list[tuple[str, int]]:
        """Hashes and heights of the wanted bodies that a node with this best chain has, and nobody fetches now."""
        return [
            (hash, wanted.height)
            for hash, wanted in self._wanted.items()
            if hash not in self._asked and chain.get(wanted.height) == hash
        ]

    async def fetch(self, source: BlockSource, hash: str, height: int) -> tuple[Block, str, float] | None:
        """The block, the first node that was seen to have it, and when that was. None where this source does not
        have it, or gives another; or nobody wants it any more. Raises what the source raises."""
        if hash in self._asked or hash not in self._wanted:
            return None
        wanted = self._wanted[hash]
        block: Block | None = None
        self._asked.add(hash)
        try:
            block = await source.block(hash, height)
        except LookupError:
            return None
        finally:
            self._asked.discard(hash)
            wanted.failed = block is None or block.header.hash != hash
        if block is None or wanted.failed or self._wanted.get(hash) is not wanted:
            return None
        del self._wanted[hash]
        self._had[hash] = None
        if len(self._had) > 4 * self._window:
            del self._had[next(iter(self._had))]
        return block, wanted.node, wanted.at
