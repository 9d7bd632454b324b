"""One run from a plan to its outcome, with Ctrl-C in hand."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import anyio
import anyio.abc

from harness.engine.control import serve
from harness.engine.outcome import Outcome
from harness.engine.patience import Patience
from harness.engine.plan import Plan
from harness.engine.recorder import Recorder
from harness.engine.session import session
from harness.engine.steering import Steering
from harness.engine.target import Target
from harness.plugin.contract.deployer import PlannedNode
from harness.plugin.registry import Registry


@dataclass(frozen=True, slots=True)
class Executed:
    """How a run came out, and whether somebody interrupted it, were it while it was being taken down."""

    outcome: Outcome
    interrupted: bool


async def execute(
    plan: Plan,
    target: Target,
    recorder: Recorder,
    planned: tuple[PlannedNode, ...] | None = None,
    registry: Registry | None = None,
) -> Executed:
    """Run a plan to its end; `planned` is what `target.check` has said of it, if it has been asked. Never raises for
    what went wrong with the run: the outcome says it, and the journal holds a defect's traceback.

    The first SIGINT, SIGTERM or SIGHUP ends the run and tears down; the second makes teardown kill nodes instead
    of waiting for them; the third gives up on what still does not end. Whoever may write to its directory can steer
    it meanwhile: see harness.control. `registry` has the faults that can be injected by hand."""
    patience = Patience()
    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as running:
            interrupt = partial(_interrupt, running, patience)
            await tasks.start(_listen, interrupt)
            steering = Steering(recorder.clock, recorder.emit, interrupt)
            try:
                await tasks.start(serve, recorder.path, steering)
            except OSError as error:
                recorder.warn("control", f"this run cannot be steered from elsewhere: {error}")
            try:
                async with session(
                    plan, target, recorder, patience=patience, planned=planned, steering=steering, registry=registry
                ) as runner:
                    await runner.run(plan)
            except Exception:
                # The session has recorded it: outcome, journal, result.json. Nothing is lost by not raising.
                if recorder.outcome is None:
                    raise
        tasks.cancel_scope.cancel()
    assert recorder.outcome is not None
    return Executed(recorder.outcome, running.cancel_called)


def _interrupt(running: anyio.CancelScope, patience: Patience) -> None:
    if running.cancel_called:
        patience.lose()
    running.cancel()


async def _listen(interrupt: Callable[[], None], *, task_status: anyio.abc.TaskStatus[None]) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as received:
        task_status.started()
        async for _ in received:
            interrupt()
