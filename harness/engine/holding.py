"""A deployment that is held open until it is wanted no more."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import anyio
import anyio.abc

from harness.plugin.contract.deployer import Deployment


class HeldDeployment:
    """A deployment, entered and left by a task of its own: whatever scopes its context manager opens are then closed
    in their order, also when leaving it is given up half-way."""

    def __init__(self) -> None:
        self._entered = False
        self._wanted_no_more = anyio.Event()
        self._left = anyio.Event()
        self._scope = anyio.CancelScope(shield=True)  # only `release` ends it, not the run's being cancelled
        self._error: Exception | None = None

    async def hold(
        self, deployment: AbstractAsyncContextManager[Deployment], *, task_status: anyio.abc.TaskStatus[Deployment]
    ) -> None:
        """Enter it, give it to whoever started this task, leave it when released."""
        with self._scope:
            try:
                async with deployment as entered:
                    self._entered = True
                    task_status.started(entered)
                    await self._wanted_no_more.wait()
            except Exception as error:
                if not self._entered:
                    raise
                self._error = error
            finally:
                self._left.set()

    async def release(self) -> None:
        """Have it left. Raises what leaving it raised; being cancelled gives up on leaving it."""
        if not self._entered:
            return
        self._wanted_no_more.set()
        try:
            await self._left.wait()
        except anyio.get_cancelled_exc_class():
            self._scope.cancel()
            raise
        if self._error is not None:
            raise self._error
