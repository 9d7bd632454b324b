"""What the engine itself tells the journal: the phases of a run, and what is seen of blocks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import anyio

from harness.clock import Clock
from harness.engine.context import RunShared
from harness.engine.tasks import plain
from harness.errors import InfrastructureError
from harness.observe.blocks import BlockSeen
from harness.record.events import BlockObserved, Event, FeedChanged, PhaseEnded, PhaseStarted


class Teller(Protocol):
    """Whoever can put events in the journal."""

    @property
    def clock(self) -> Clock: ...

    @property
    def emit(self) -> Callable[[Event], None]: ...


@asynccontextmanager
async def phase(teller: Teller, name: str, budget: float | None = None) -> AsyncIterator[None]:
    """Journal a phase: its begin, its end, how long it took, and what it failed with."""
    began = teller.clock.now()
    teller.emit(PhaseStarted(name, budget))
    try:
        yield
    except BaseException as error:
        cancelled = isinstance(error, anyio.get_cancelled_exc_class())
        text = "interrupted" if cancelled else str(plain(error)) or type(error).__name__
        teller.emit(PhaseEnded(name, False, teller.clock.now() - began, text))
        raise
    teller.emit(PhaseEnded(name, True, teller.clock.now() - began))


def journal_feed(shared: RunShared) -> None:
    """Put what the feed sees in the journal."""

    def block(seen: BlockSeen) -> None:
        h = seen.header
        shared.emit(BlockObserved(seen.node, h.height, h.hash, h.parent, h.time, h.proposer, h.tx_count, seen.live))

    def connection(node: str, connected: bool, error: str) -> None:
        shared.emit(FeedChanged(node, connected, error))

    def defect(who: str, error: Exception) -> None:
        # Whoever has missed blocks knows less than it believes: no verdict may be built on that.
        shared.fail("feed", InfrastructureError(f"{who} failed at a block: {type(error).__name__}: {error}"))

    shared.feed.subscribe(block)
    shared.feed.on_connection(connection)
    shared.feed.on_defect(defect)
