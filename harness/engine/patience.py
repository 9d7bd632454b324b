"""How much longer whoever runs this is willing to wait for things to be taken down properly."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio


class Patience:
    """Runs out in two steps: `hurry` (do not wait for what would end by itself), `abandon` (do not wait at all)."""

    def __init__(self) -> None:
        self._hurry = anyio.Event()
        self._abandon = anyio.Event()

    @property
    def hurried(self) -> bool:
        return self._hurry.is_set()

    @property
    def abandoned(self) -> bool:
        return self._abandon.is_set()

    def lose(self) -> None:
        """One step less patient."""
        (self._abandon if self.hurried else self._hurry).set()

    async def wait_hurry(self) -> None:
        await self._hurry.wait()

    @asynccontextmanager
    async def until_hurried(self) -> AsyncIterator[anyio.CancelScope]:
        """Cancels its body, also one that is shielded from outside, when patience loses its first step."""
        async with self._until(self._hurry) as scope:
            yield scope

    @asynccontextmanager
    async def until_abandoned(self) -> AsyncIterator[anyio.CancelScope]:
        """The same for the second step."""
        async with self._until(self._abandon) as scope:
            yield scope

    @asynccontextmanager
    async def _until(self, event: anyio.Event) -> AsyncIterator[anyio.CancelScope]:
        async def watch(scope: anyio.CancelScope) -> None:
            await event.wait()
            scope.cancel()

        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as scope:
                tasks.start_soon(watch, scope)
                yield scope
            tasks.cancel_scope.cancel()
