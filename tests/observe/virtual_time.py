"""Time that passes as soon as nobody has anything to do. No test sleeps for real."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any

import anyio

WALL = 1_700_000_000.0  # Unix seconds at moment 0 of virtual time


class _VirtualSelector(selectors.DefaultSelector):
    """Instead of waiting for a timer, jumps to it. Waits for real only when no timer is set (a thread is at work)."""

    now = 1000.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        ready = super().select(0)
        if not ready:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only by waiting."""

    def __init__(self) -> None:
        self._virtual = _VirtualSelector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now

    def jump(self, seconds: float) -> None:
        """As if something had held the loop up for so long."""
        self._virtual.now += seconds


class LoopClock:
    """The event loop's time, virtual or not."""

    def now(self) -> float:
        return anyio.current_time()

    def wall(self) -> float:
        return WALL + self.now()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(max(0.0, seconds))

    async def sleep_until(self, moment: float) -> None:
        await self.sleep(moment - self.now())
