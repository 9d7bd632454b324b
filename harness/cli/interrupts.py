"""Commands that deal with machines, and are ended from the keyboard."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import anyio.abc

from harness.engine.tasks import plain_errors

T = TypeVar("T")


class Interrupted(Exception):
    """It was asked to end, and has: what it had begun on machines is over too."""


def run_interruptible(work: Callable[[], Awaitable[T]]) -> T:
    """Run it to its end. SIGINT, SIGTERM or SIGHUP cancels it, which ends what it has begun; the second one ends this
    process at once. Raises Interrupted, and what `work` raises."""
    return anyio.run(_until_interrupted, work)


async def _until_interrupted(work: Callable[[], Awaitable[T]]) -> T:
    with plain_errors():
        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as scope:
                await tasks.start(_listen, scope)
                result = await work()
            tasks.cancel_scope.cancel()
    if scope.cancelled_caught:
        raise Interrupted
    return result


async def _listen(scope: anyio.CancelScope, *, task_status: anyio.abc.TaskStatus[None]) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as received:
        task_status.started()
        async for _ in received:
            break
    scope.cancel()
