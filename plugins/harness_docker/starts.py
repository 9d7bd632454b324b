"""Commands that are being started in a container, kept apart from its being paused.

A process that joins a freezer of cgroup v1 while that freezes may keep it from ever coming to rest. The engine then
answers nobody who asks for this container, and cannot remove it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio

LOOK_AGAIN = 0.02
"""Seconds between two looks at whether a command runs by now: the engine's answer is all there is."""


class Starts:
    """Of one container."""

    def __init__(self) -> None:
        self._starting: set[str] = set()
        self._lock = anyio.Lock()
        self._over = anyio.Event()
        self._over.set()

    async def begin(self, execution: str) -> None:
        """This one is about to be started: not in the middle of a pause."""
        await self._over.wait()
        self._starting.add(execution)

    def end(self, execution: str) -> None:
        """It has ended."""
        self._starting.discard(execution)

    @asynccontextmanager
    async def none(self, runs: Callable[[str], Awaitable[bool]]) -> AsyncIterator[None]:
        """Wait until those that were begun run, which `runs` finds out, or have ended; no other is begun meanwhile."""
        async with self._lock:
            self._over = anyio.Event()
            try:
                for execution in tuple(self._starting):
                    while True:
                        if execution not in self._starting or await runs(execution):
                            break
                        await anyio.sleep(LOOK_AGAIN)
                yield
            finally:
                self._over.set()
