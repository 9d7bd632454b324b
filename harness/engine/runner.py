"""A deployed network and the phases that are run on it: capture, drive, settle, evaluate."""

from __future__ import annotations

import itertools
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import anyio
import anyio.abc

from harness.clock import Clock
from harness.engine.by_hand import FaultsByHand
from harness.engine.components import Component
from harness.engine.context import ComponentContext, RunShared
from harness.engine.phases import phase
from harness.engine.plan import Plan
from harness.engine.tasks import as_harness_error, is_cancellation, plain, plain_errors
from harness.engine.timeline import TIMELINE, Timeline
from harness.errors import HarnessError, InfrastructureError
from harness.observe.blocks import BlockSeen
from harness.plugin.contract.context import Window
from harness.plugin.contract.expectation import Expectation, Judgement, Violation
from harness.plugin.contract.node import Node
from harness.plugin.contract.workload import Workload
from harness.plugin.registry import Registry
from harness.record.events import (
    ExpectationJudged,
    Note,
    ViolationSeen,
    WorkloadProgress,
)
from harness.spec.verdict import Verdict

PREPARE_WITHIN = 120.0
"""Seconds that a workload or expectation may take to get ready."""
EVALUATE_WITHIN = 600.0
"""Seconds that an expectation may take to judge; it may have to wait for recoveries."""
DRIVE_GRACE = 30.0
"""Seconds that workloads get, after the deadline and the end of the faults that hold, to end what they had begun,
before they are cancelled."""
FAULTS_GRACE = 300.0
"""Seconds after the deadline that faults get to be proven once more, healed, and proven to be gone."""
SETTLE_PATIENCE = 4.0
"""Settling waits at most so many times the time in which the protocol makes its finality depth of blocks."""
SETTLE_LEAST = 5.0
"""Seconds that settling may take at least, for chains whose blocks are final at once."""
FAULTS_PROVEN = "faults-proven"
"""As what it is told that a fault could not be proven: no expectation of anybody's."""
FAULTS_REPLAYED = "faults-replayed"
"""As what it is told that faults of the run that is played again were not injected."""
FIGURES_EVERY = 1.0
"""Seconds between two records of the trackers' figures."""
LATENCIES_EVERY = 5
"""One record in so many has percentiles too, which cost more."""


Beside = Callable[[], Coroutine[Any, Any, None]]
"""Something that goes on beside the workloads until the drive is over."""


@dataclass(frozen=True, slots=True)
class Judged:
    """An expectation and its judgement."""

    id: str
    judgement: Judgement
    source: str


class Runner:
    """What `deployer.deploy(plan)` gives: a network that is up, and `run`, which drives and judges it."""

    def __init__(self, shared: RunShared, plan: Plan, registry: Registry | None = None) -> None:
        """`plan` is what was asked for, whose pace may not be that of the network. `registry` has the faults that can
        be injected by hand, none without it."""
        self._shared = shared
        self._registry = registry
        self.plan = plan
        self._judged: list[Judged] = []
        self._violated: dict[str, tuple[Violation, str]] = {}  # expectation → its first violation, where it is asked
        self._driving: set[str] = set()  # workloads that have not ended yet
        self._crashed: dict[str, BaseException] = {}  # expectation → what it raised while it watched
        self._aborted = anyio.Event()
        self.ended_by = ""
        """The expectation whose violation ended the run before its time, if one did."""

    @property
    def clock(self) -> Clock:
        return self._shared.clock

    @property
    def nodes(self) -> Mapping[str, Node]:
        """The network's nodes by name, for who wants to look at them, or to control them, beside `run`."""
        return self._shared.nodes

    @property
    def findings(self) -> tuple[Judged, ...]:
        """The judgements so far, and a failure for every expectation that was seen violated and not judged yet."""
        there = {one.id for one in self._judged}
        seen = (
            Judged(name, Judgement(Verdict.FAIL, violation.message, "", violation.evidence), source)
            for name, (violation, source) in self._violated.items()
            if name not in there
        )
        return (*self._judged, *seen)

    @property
    def verdict(self) -> Verdict:
        """The worst of the findings so far; `unknown` before there are any."""
        return Verdict.worst(one.judgement.verdict for one in self.findings)

    async def run(self, plan: Plan) -> Verdict:
        """Capture, drive, settle, evaluate: every expectation is asked, never only the first that fails.

        Raises InfrastructureError after evaluating when a workload or a fault failed of itself."""
        if plan is not self.plan:
            raise ValueError("this network was deployed for another plan")
        async with self._shared.kept:
            return await self._run(self._shared.plan)

    async def _run(self, plan: Plan) -> Verdict:
        async with self._phase("capture"):
            workloads = [(component, component.make()) for component in plan.workloads]
            expectations = [(component, component.make()) for component in plan.expectations]
            for component, workload in workloads:
                await self._before(component, workload.prepare)
            checks = {step.judges.id: (step.judges, step.judges.make()) for step in plan.steps if step.judges}
            for asked, expectation in (*expectations, *checks.values()):
                await self._before(asked, expectation.capture)
        self._watch_blocks((*expectations, *checks.values()))
        timeline = Timeline(self._shared, lambda id: self._judge(*checks[id]), self._end_early)
        beside = self._beside((*expectations, *checks.values()))
        async with self._recording_figures():
            async with self._phase("drive", plan.duration):
                await self._drive(workloads, timeline, beside)
                await self._shared.faults.heal_rest()
            async with self._phase("settle", plan.settle), anyio.create_task_group() as settling:
                settling.start_soon(self._stop_when, self._aborted, settling.cancel_scope)
                await self._settle()
                settling.cancel_scope.cancel()
        async with self._phase("evaluate"):
            for asked, expectation in expectations:
                await self._judge(asked, expectation)
            self._judge_faults()
            self._judge_timeline(timeline)
        self._emit_figures(final=True, with_latency=True)  # expectations have waited for what was still to be included
        if self._shared.failures:
            raise InfrastructureError("; ".join(dict.fromkeys(map(str, self._shared.failures))))
        return self.verdict

    async def _before(self, component: Component[Any], call: Callable[[ComponentContext], Awaitable[None]]) -> None:
        """Have a plugin get ready. Raises a HarnessError that names it, also for what it did not mean to raise."""
        try:
            with anyio.move_on_after(PREPARE_WITHIN) as limit:
                await call(self._context(component))
        except BaseException as error:
            if is_cancellation(error):
                raise
            if not isinstance(error, HarnessError):
                trace = {"traceback": traceback.format_exc()}
                self._shared.emit(Note(component.id, "error", f"{type(error).__name__}: {error}", trace))
            raise as_harness_error(error, component.id) from error
        if limit.cancelled_caught:
            raise InfrastructureError(f"{component.id} was not ready to begin within {PREPARE_WITHIN:g} s")

    def _context(self, component: Component[Any]) -> ComponentContext:
        return ComponentContext(self._shared, component.id)

    @asynccontextmanager
    async def _phase(self, name: str, budget: float | None = None) -> AsyncIterator[None]:
        async with phase(self._shared, name, budget):
            yield

    def _watch_blocks(self, expectations: Sequence[tuple[Component[Any], Expectation[Any]]]) -> None:
        """Let every expectation that observes see every block, as it is seen."""
        watching = [
            (component, expectation, self._context(component))
            for component, expectation in expectations
            if type(expectation).observe_block is not Expectation.observe_block
        ]

        def seen(block: BlockSeen) -> None:
            for watcher in tuple(watching):
                component, expectation, context = watcher
                try:
                    violation = expectation.observe_block(context, block)
                except BaseException as error:  # noqa: BLE001 - a check's bug must cost no other check its blocks
                    watching.remove(watcher)
                    self._crashed[component.id] = error
                    trace = {"traceback": traceback.format_exc()}
                    self._shared.emit(Note(component.id, "error", f"{type(error).__name__}: {error}", trace))
                    continue
                if violation is not None:
                    self._saw_violation(component, violation)

        if watching:
            self._shared.feed.subscribe(seen)

    def _saw_violation(self, component: Component[Any], violation: Violation) -> None:
        self._violated.setdefault(component.id, (violation, component.source))
        self._shared.emit(ViolationSeen(component.id, violation.message, violation.evidence))
        if component.abort:
            self._end_early(component.id)

    def _end_early(self, expectation: str) -> None:
        """The run is over because of this one, unless it is already."""
        if not self._aborted.is_set():
            self.ended_by = expectation
            self._aborted.set()

    def _beside(self, expectations: Sequence[tuple[Component[Any], Expectation[Any]]]) -> list[Beside]:
        """What expectations do during the drive: measure, and watch where they are asked to."""
        beside: list[Beside] = []
        for component, expectation in expectations:
            cls = type(expectation)
            if cls.measure is not Expectation.measure:
                beside.append(partial(self._guarded, component, partial(expectation.measure, self._context(component))))
            if component.continuous and cls.watch is not Expectation.watch:
                beside.append(partial(self._guarded, component, partial(self._watch, component, expectation)))
        return beside

    async def _guarded(self, component: Component[Any], call: Beside) -> None:
        """A check's bug is its own: what it would have said is not known."""
        try:
            await call()
        except BaseException as raised:
            if is_cancellation(raised):
                raise
            error = self._crashed[component.id] = plain(raised)
            trace = {"traceback": traceback.format_exc()}
            self._shared.emit(Note(component.id, "error", f"{type(error).__name__}: {error}", trace))

    async def _watch(self, component: Component[Any], expectation: Expectation[Any]) -> None:
        """Ask again and again; a violation that lasts is told once."""
        context, lasts = self._context(component), False
        while True:
            await self.clock.sleep(expectation.watch_every.seconds(context.block_interval))
            violation = await expectation.watch(context)
            if violation is not None and not lasts:
                self._saw_violation(component, violation)
            lasts = violation is not None

    async def _drive(
        self,
        workloads: Sequence[tuple[Component[Any], Workload[Any]]],
        timeline: Timeline,
        beside: Sequence[Beside],
    ) -> None:
        shared, clock = self._shared, self.clock
        start, start_wall = clock.now(), clock.wall()
        shared.window = Window(start, start_wall)
        deadline = start + shared.plan.duration
        async with anyio.create_task_group() as tasks:
            async with anyio.create_task_group() as driving:
                tasks.start_soon(self._stop_when, self._shared.failed, driving.cancel_scope)
                tasks.start_soon(self._stop_when, self._aborted, driving.cancel_scope)
                for call in beside:
                    tasks.start_soon(call)
                for component, workload in workloads:
                    driving.start_soon(self._drive_one, component.id, partial(self._run_workload, component, workload))
                driving.start_soon(self._drive_one, TIMELINE, partial(timeline.run, deadline))
                if self._registry is not None:
                    by_hand = FaultsByHand(shared, self._registry, driving, deadline)
                    shared.steering.driving(by_hand.inject, by_hand.offered)
                await clock.sleep_until(deadline)
                shared.steering.driven()
                with anyio.move_on_after(FAULTS_GRACE):
                    while await shared.faults.one_over():
                        """Each ends in its own time, which is no workload's delay."""
                driving.cancel_scope.deadline = anyio.current_time() + DRIVE_GRACE
            if driving.cancel_scope.cancelled_caught and not shared.failures and not self.ended_by:
                late = ", ".join(sorted(self._driving))
                took = clock.now() - deadline
                shared.fail("drive", InfrastructureError(f"{late} did not end within {took:.0f} s of the deadline"))
            tasks.cancel_scope.cancel()
        shared.steering.driven()
        shared.window = Window(start, start_wall, clock.now(), clock.wall())
        shared.quiet = True

    async def _stop_when(self, happens: anyio.Event, scope: anyio.CancelScope) -> None:
        await happens.wait()
        scope.cancel()

    async def _run_workload(self, component: Component[Any], workload: Workload[Any]) -> None:
        await workload.run(self._context(component))

    async def _drive_one(self, id: str, run: Callable[[], Awaitable[None]]) -> None:
        """What fails ends the drive, not the run: what was seen so far is still judged."""
        self._driving.add(id)
        try:
            await run()
        except BaseException as raised:  # whatever a plugin raises: named, kept with its traceback, never a verdict
            if is_cancellation(raised):
                raise
            defect = not isinstance(plain(raised), HarnessError)
            self._shared.fail(id, as_harness_error(raised), traceback.format_exc() if defect else "")
        self._driving.discard(id)

    @asynccontextmanager
    async def _recording_figures(self) -> AsyncIterator[None]:
        """Record how the trackers stand, again and again, and once more at the end."""

        async def record() -> None:
            for number in itertools.count(1):
                await self.clock.sleep(FIGURES_EVERY)
                self._emit_figures(with_latency=number % LATENCIES_EVERY == 0)

        with plain_errors():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(record)
                yield
                tasks.cancel_scope.cancel()
        self._emit_figures(final=True, with_latency=True)

    def _emit_figures(self, *, final: bool = False, with_latency: bool) -> None:
        for name, tracker in self._shared.trackers.items():
            latency = tracker.latency() if with_latency else {}
            machines = tracker.senders.by_machine() if final and tracker.senders is not None else {}
            self._shared.emit(WorkloadProgress(name, tracker.figures(), final, tracker.target, latency, machines))

    async def _settle(self) -> None:
        """Wait until what was made during the drive is final everywhere, in protocol time."""
        shared, plan, timing = self._shared, self._shared.plan, self._shared.plan.timing
        if plan.settle is not None:
            await self.clock.sleep(plan.settle)
        else:
            blocks = timing.finality_depth + 2  # one more than the last of the drive, one for clocks
            patience = max(SETTLE_LEAST, SETTLE_PATIENCE * blocks * timing.block_interval)
            goal = shared.feed.highest + blocks
            present = shared.feed.nodes.keys() - set(shared.faults.absent)
            await shared.feed.wait_height(goal, nodes=present, timeout=patience)

    async def _judge(self, component: Component[Any], expectation: Expectation[Any]) -> Verdict:
        try:
            if crashed := self._crashed.get(component.id):
                raise crashed
            with anyio.fail_after(EVALUATE_WITHIN):
                judgement = await expectation.evaluate(self._context(component))
            if not isinstance(judgement, Judgement):
                raise TypeError(f"evaluate returned {judgement!r}, not a Judgement")
        except BaseException as raised:  # what a check that crashed would have said is not known
            if is_cancellation(raised):
                raise
            error = plain(raised)
            self._shared.emit(Note(component.id, "error", str(error), {"traceback": traceback.format_exc()}))
            judgement = Judgement(Verdict.UNKNOWN, f"the check itself failed: {type(error).__name__}: {error}", "")
        if component.id in self._violated and judgement.verdict is not Verdict.FAIL:
            violation = self._violated[component.id][0]
            judgement = replace(judgement, verdict=Verdict.FAIL, measured=f"{violation.message}; {judgement.measured}")
        self._tell(Judged(component.id, judgement, component.source))
        return judgement.verdict

    def _judge_faults(self) -> None:
        """What was judged under a fault that may not have been there, or not under one that was asked for, says
        nothing."""
        if missed := tuple(self._shared.faults.missed):
            asked = "each fault of the run that is played again is injected again"
            self._tell(Judged(FAULTS_REPLAYED, Judgement(Verdict.UNKNOWN, missed[0], asked, {"missed": missed}), ""))
        if doubts := tuple(dict.fromkeys(self._shared.faults.doubts)):
            asked = "each fault is proven to be there, and to be gone"
            self._tell(Judged(FAULTS_PROVEN, Judgement(Verdict.UNKNOWN, doubts[0], asked, {"doubts": doubts}), ""))

    def _judge_timeline(self, timeline: Timeline) -> None:
        """What was to happen and did not leaves a verdict on something else than what was asked for."""
        if timeline.skipped:
            which = ", ".join(f"{step.use.label} ({step.use.action} {step.use.what})" for step in timeline.skipped)
            asked = f"all {len(self._shared.plan.steps)} steps are come to within {self._shared.plan.playbook.duration}"
            source = str(timeline.skipped[0].use.where)
            self._tell(Judged(TIMELINE, Judgement(Verdict.UNKNOWN, f"never came to {which}", asked), source))

    def _tell(self, judged: Judged) -> None:
        self._judged.append(judged)
        one = judged.judgement
        self._shared.emit(
            ExpectationJudged(judged.id, one.verdict.value, one.measured, one.asked, one.evidence, judged.source)
        )
