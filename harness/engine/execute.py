"""One run from a plan to its outcome, with Ctrl-C in hand."""

from __future__ import annotations

import signal

import anyio
import anyio.abc

from harness.engine.outcome import Outcome
from harness.engine.plan import Plan
from harness.engine.recorder import Recorder
from harness.engine.session import session
from harness.engine.target import Target


async def execute(plan: Plan, target: Target, recorder: Recorder) -> Outcome:
    """Run a plan to its end. Never raises for what went wrong with the run: the outcome says it, and the journal
    holds a defect's traceback.

    The first SIGINT, SIGTERM or SIGHUP ends the run and tears down; the second makes teardown kill nodes
    instead of waiting for them."""
    hurry = anyio.Event()
    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as running:
            await tasks.start(_listen, running, hurry)
            try:
                async with session(plan, target, recorder, hurry=hurry) as runner:
                    await runner.run(plan)
            except Exception:
                # The session has recorded it: outcome, journal, result.json. Nothing is lost by not raising.
                if recorder.outcome is None:
                    raise
        tasks.cancel_scope.cancel()
    assert recorder.outcome is not None
    return recorder.outcome


async def _listen(running: anyio.CancelScope, hurry: anyio.Event, *, task_status: anyio.abc.TaskStatus[None]) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as received:
        task_status.started()
        async for _ in received:
            if running.cancel_called:
                hurry.set()
            running.cancel()
