"""One run as a whole: its network brought up, driven by whoever asked for it, taken down, and the result written."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from harness.engine.lifecycle import Lifecycle
from harness.engine.outcome import conclude
from harness.engine.patience import Patience
from harness.engine.plan import Plan
from harness.engine.recorder import Recorder
from harness.engine.runner import Runner
from harness.engine.steering import Steering
from harness.engine.target import Target
from harness.engine.tasks import plain
from harness.errors import HarnessError, TeardownError, UsageError
from harness.plugin.contract.deployer import PlannedNode
from harness.plugin.registry import Registry
from harness.record.events import Note


@asynccontextmanager
async def session(
    plan: Plan,
    target: Target,
    recorder: Recorder,
    *,
    patience: Patience | None = None,
    planned: tuple[PlannedNode, ...] | None = None,
    steering: Steering | None = None,
    registry: Registry | None = None,
) -> AsyncIterator[Runner]:
    """Deploy a plan and give its runner; on leaving, tear down and write the result, whatever happened.

    `patience` may be lost from outside, to shorten what comes after an interruption; with `planned`, which
    `target.check` has given, machines are not looked at once more. `steering` is who is asked from outside, and
    `registry` has the faults that can be injected by hand. Raises what the body raised,
    and NotReadyError, DeployError … of bringing the network up; TeardownError, from one of them, when what had been
    made could not be taken away either."""
    steering = steering or Steering(recorder.clock, recorder.emit, _nobody_ends_it)
    life = Lifecycle(plan, target, recorder, patience or Patience(), steering, registry)
    began = recorder.clock.now()
    error: BaseException | None = None
    left: list[str] = []
    try:
        async with anyio.create_task_group() as tasks:
            try:
                yield await life.bring_up(tasks, planned)
            except BaseException as raised:  # noqa: BLE001 - raised again after teardown, with no group around it
                error = plain(raised)
            finally:
                with anyio.CancelScope(shield=True):
                    left = await life.tear_down()
                tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:  # one of the run's own background tasks broke
        error = plain(group)
    except anyio.get_cancelled_exc_class() as raised:  # ended while it was taken down, before all its tasks had ended
        error = error or raised
    first = error
    if isinstance(error, TeardownError):  # it could not be brought up, nor could what there was of it be taken away
        left = [str(error), *left]
        first = error.__cause__ or error.__context__
    interrupted = isinstance(first, (anyio.get_cancelled_exc_class(), KeyboardInterrupt))
    if first is not None and not interrupted and not isinstance(first, HarnessError):
        trace = "".join(traceback.format_exception(first))
        recorder.emit(Note("engine", "error", f"{type(first).__name__}: {first}", {"traceback": trace}))
    outcome = conclude(
        life.runner.findings if life.runner else (),
        interrupted=interrupted,
        failure="" if first is None or interrupted else _told(first),
        usage=isinstance(first, UsageError),
        teardown_errors=left,
        ended_by=life.runner.ended_by if life.runner else "",
    )
    recorder.finish(outcome, recorder.clock.now() - began)
    if error is not None:
        raise error


def _nobody_ends_it() -> None:
    """Who drives the network himself ends it himself."""


def _told(error: BaseException) -> str:
    if isinstance(error, HarnessError):
        return str(error) or type(error).__name__
    return f"{type(error).__name__}: {error} (a defect; its traceback is in the journal)"
