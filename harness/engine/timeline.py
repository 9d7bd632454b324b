"""The timeline of a playbook: its `[[steps]]`, one after the other, beside the workloads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
import anyio.abc

from harness.engine.components import PlannedStep
from harness.engine.context import RunShared
from harness.engine.tasks import plain_errors
from harness.errors import HarnessError, InfrastructureError
from harness.plugin.contract.fault import Fault
from harness.plugin.contract.node import Node
from harness.record.events import StepStaged
from harness.spec.node_patterns import select_nodes
from harness.spec.verdict import Verdict

TIMELINE = "steps"
"""As who the timeline's faults are injected."""
COMMAND_WITHIN = 600.0
"""Seconds that a command of a step may take."""
SAID = 2000
"""Characters of what a command has said that the journal keeps."""


class Timeline:
    """Goes through a plan's steps. `judge` evaluates an expectation, by its id, and journals what it says; `end` ends
    the run because of one."""

    def __init__(
        self, shared: RunShared, judge: Callable[[str], Awaitable[Verdict]], end: Callable[[str], None]
    ) -> None:
        self._shared = shared
        self._judge = judge
        self._end = end
        self._held: dict[str, tuple[anyio.Event, anyio.Event]] = {}  # fault's name → asked to heal, is healed

    async def run(self, deadline: float) -> None:
        """Until the last step is done and all its faults are healed, or nothing new may begin: `deadline`.

        Raises FaultError and InfrastructureError; steps that were not come to are told, which makes the verdict
        unknown: see `skipped`."""
        steps = self._shared.plan.steps
        with plain_errors():
            async with anyio.create_task_group() as holding:
                for number, step in enumerate(steps):
                    if not await self._due(step, deadline):
                        for late in steps[number:]:
                            self._tell(late, "skipped", "the drive was over before its time came")
                        self.skipped = steps[number:]
                        break
                    self._tell(step, "begun")
                    try:
                        await self._do(step, holding, deadline)
                    except HarnessError as error:
                        self._tell(step, "failed", str(error))
                        raise
                    self._tell(step, "done")
                await self._shared.clock.sleep_until(deadline if self._held else 0.0)
                for ask, _ in self._held.values():
                    ask.set()

    skipped: Sequence[PlannedStep] = ()
    """Steps that the drive was too short for."""

    async def _due(self, step: PlannedStep, deadline: float) -> bool:
        """Wait for its moment; whether that came in time."""
        shared, use = self._shared, step.use
        clock, interval = shared.clock, shared.plan.timing.block_interval
        if use.at is not None and use.at.height is not None:
            height = use.at.height
            return await shared.feed.wait(lambda: shared.feed.highest >= height, max(0.0, deadline - clock.now()))
        begins = clock.now()
        if use.at is not None and shared.window is not None:
            begins = shared.window.start + use.at.span.seconds(interval)
        elif use.after is not None:
            begins += use.after.seconds(interval)
        await clock.sleep_until(min(begins, deadline))
        return begins < deadline

    async def _do(self, step: PlannedStep, holding: anyio.abc.TaskGroup, deadline: float) -> None:
        use = step.use
        if (fault := step.disturbs) is not None:
            await self._inject(step, fault.make(), holding, deadline)
        elif (expectation := step.judges) is not None:
            if await self._judge(expectation.id) is Verdict.FAIL and use.abort:
                self._end(expectation.id)
        elif use.action == "heal":
            ask, healed = self._held.pop(use.what)
            ask.set()
            await healed.wait()
        else:
            for node in self._targets(step):
                await self._command(step, node)

    async def _inject(
        self, step: PlannedStep, fault: Fault[Any], holding: anyio.abc.TaskGroup, deadline: float
    ) -> None:
        use, clock = step.use, self._shared.clock
        targets = self._targets(step)
        if use.hold is not None:
            ends = clock.now() + use.hold.seconds(self._shared.plan.timing.block_interval)
            async with self._shared.faults.apply(fault, targets, by=TIMELINE):
                await clock.sleep_until(min(ends, deadline))
            return
        ask, healed = anyio.Event(), anyio.Event()
        await holding.start(self._hold, fault, targets, ask, healed)
        self._held[use.name or use.label] = ask, healed

    async def _hold(
        self,
        fault: Fault[Any],
        targets: Sequence[Node],
        ask: anyio.Event,
        healed: anyio.Event,
        *,
        task_status: anyio.abc.TaskStatus[None],
    ) -> None:
        async with self._shared.faults.apply(fault, targets, by=TIMELINE):
            task_status.started()
            await ask.wait()
        healed.set()

    async def _command(self, step: PlannedStep, node: Node) -> None:
        ran = await node.machine.run(step.use.argv, timeout=COMMAND_WITHIN)
        said = (ran.stdout + ran.stderr).decode(errors="replace").strip()[-SAID:]
        self._tell(step, "ran", f"{node.name}: exit status {ran.returncode}: {said}")
        if ran.returncode != 0:
            where = f"{step.use.label}: {step.use.what} on {node.name}"
            raise InfrastructureError(f"{where} ended with status {ran.returncode}: {said[-300:]}")

    def _targets(self, step: PlannedStep) -> Sequence[Node]:
        specs = select_nodes(step.use.targets, [node.spec for node in self._shared.nodes.values()])
        return [self._shared.nodes[spec.name] for spec in specs]

    def _tell(self, step: PlannedStep, stage: str, detail: str = "") -> None:
        use = step.use
        self._shared.emit(StepStaged(use.label, f"{use.action} {use.what}", stage, detail, str(use.where)))
