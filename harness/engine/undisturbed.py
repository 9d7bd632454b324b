"""What is looked at of links at once: dials bear one another, but not that somebody sees how many bytes pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import anyio

from harness.spec.topology import Link

Pair = frozenset[str]
"""Two nodes: links between them have one rate together, whoever dials."""


class Undisturbed:
    """Bytes that are sent to see how many pass fill what there is between two nodes: others who look at these wait."""

    def __init__(self) -> None:
        self._dialling: Counter[Pair] = Counter()
        self._measured: set[Pair] = set()
        self._changed = anyio.Condition()

    @asynccontextmanager
    async def dialling(self, links: Iterable[Link]) -> AsyncIterator[None]:
        """Nobody sends bytes over these meanwhile."""
        pairs = _pairs(links)
        async with self._changed:
            while pairs & self._measured:
                await self._changed.wait()
            self._dialling.update(pairs)
        try:
            yield
        finally:
            await self._end(self._dialling.subtract, pairs)

    @asynccontextmanager
    async def measuring(self, links: Iterable[Link]) -> AsyncIterator[None]:
        """Nobody else looks at these meanwhile."""
        pairs = _pairs(links)
        async with self._changed:
            while pairs & self._measured:
                await self._changed.wait()
            self._measured |= pairs  # so that nobody begins to dial
        try:
            async with self._changed:
                while any(self._dialling[pair] for pair in pairs):
                    await self._changed.wait()
            yield
        finally:
            await self._end(self._measured.difference_update, pairs)

    async def _end(self, give_back: Callable[[Iterable[Pair]], None], pairs: frozenset[Pair]) -> None:
        with anyio.CancelScope(shield=True):
            async with self._changed:
                give_back(pairs)
                self._changed.notify_all()


def _pairs(links: Iterable[Link]) -> frozenset[Pair]:
    return frozenset(frozenset((link.src, link.dst)) for link in links)
