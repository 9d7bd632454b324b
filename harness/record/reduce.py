"""From events to the state of a run: one pure function, which every face and report shares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from harness.record.events import (
    BlockObserved,
    ClockMeasured,
    CommandRan,
    Event,
    ExpectationJudged,
    FaultStaged,
    FeedChanged,
    NetworkAdopted,
    NodeChanged,
    NodeMeasured,
    NodePlaced,
    Note,
    PhaseEnded,
    PhaseStarted,
    Recorded,
    RunFinished,
    RunStarted,
    Steered,
    StepStaged,
    TaskRan,
    ViolationSeen,
    WorkloadProgress,
)
from harness.record.state import (
    MAX_NOTES,
    MAX_VIOLATIONS,
    MAX_WARNINGS,
    RECENT_BLOCKS,
    BlockRef,
    ExpectationState,
    FaultState,
    NodeStatus,
    PhaseState,
    PreparedHost,
    Remark,
    RunState,
    Seen,
    StepState,
    WorkloadState,
)

K = TypeVar("K")
V = TypeVar("V")


def reduce(state: RunState, recorded: Recorded) -> RunState:
    """The state after one more event. Total: any sequence of events gives a state, also one that no run writes."""
    state = replace(state, seq=recorded.seq, t=recorded.t)
    return _apply(state, recorded.event, recorded)


def reduce_all(events: Iterable[Recorded], state: RunState | None = None) -> RunState:
    """The state after all of them."""
    fold = Fold(state)
    for recorded in events:
        fold.add(recorded)
    return fold.state


FREQUENT: frozenset[type[Event]] = frozenset({BlockObserved, NodeMeasured, WorkloadProgress, CommandRan})
"""Events that a state is only the last of, and most of a journal. Nothing is told of them."""


class Fold:
    """What `reduce` does, for many events: frequent ones are gathered and put together when the state is asked for."""

    def __init__(self, state: RunState | None = None) -> None:
        self._state = state or RunState()
        self._nodes: dict[str, _Latest] = {}
        self._workloads: dict[str, WorkloadState] = {}
        self._recent: list[BlockRef] = []
        self._highest = self._state.highest
        self._seq, self._t = self._state.seq, self._state.t

    def add(self, recorded: Recorded) -> None:
        event = recorded.event
        if isinstance(event, BlockObserved):
            self._latest(event.node).block = event
            if self._highest is None or not event.height <= self._highest.height:
                self._highest = BlockRef(event.height, event.hash, event.node, event.time, recorded.t)
                self._recent.append(self._highest)
        elif isinstance(event, NodeMeasured):
            latest = self._latest(event.node)
            latest.measured = event
            latest.version = event.version or latest.version
        elif isinstance(event, WorkloadProgress):
            known = self._workloads.get(event.workload) or self._state.workloads.get(event.workload)
            self._workloads[event.workload] = _progress(known, event, recorded.t)
        elif not isinstance(event, CommandRan):
            self._state = reduce(self.state, recorded)
            self._highest = self._state.highest
        self._seq, self._t = recorded.seq, recorded.t

    def _latest(self, node: str) -> _Latest:
        latest = self._nodes.get(node)
        if latest is None:
            latest = self._nodes[node] = _Latest()
        return latest

    @property
    def state(self) -> RunState:
        """After all events so far."""
        state = self._state
        if state.seq is self._seq and state.t is self._t and not (self._nodes or self._workloads):
            return state
        nodes = dict(state.nodes)
        for name, latest in self._nodes.items():
            nodes[name] = latest.of(nodes.get(name) or NodeStatus(name))
        self._state = replace(
            state,
            seq=self._seq,
            t=self._t,
            nodes=nodes if self._nodes else state.nodes,
            recent=(*state.recent, *self._recent)[-RECENT_BLOCKS:] if self._recent else state.recent,
            workloads={**state.workloads, **self._workloads} if self._workloads else state.workloads,
        )
        self._nodes, self._workloads, self._recent = {}, {}, []
        return self._state


class _Latest:
    """What was heard last of a node."""

    __slots__ = ("block", "measured", "version")

    def __init__(self) -> None:
        self.block: BlockObserved | None = None
        self.measured: NodeMeasured | None = None
        self.version = ""

    def of(self, node: NodeStatus) -> NodeStatus:
        block, measured = self.block, self.measured
        height, hash_ = (node.height, node.hash) if block is None else (block.height, block.hash)
        if measured is None:
            return replace(node, height=height, hash=hash_)
        return replace(
            node,
            height=height,
            hash=hash_,
            peers=measured.peers,
            version=self.version or node.version,
            cpu=measured.cpu,
            memory=measured.memory,
        )


def _apply(state: RunState, event: Event, recorded: Recorded) -> RunState:
    match event:
        case BlockObserved():
            return _block(state, event)
        case WorkloadProgress():
            workload = _progress(state.workloads.get(event.workload), event, state.t)
            return replace(state, workloads=_with(state.workloads, event.workload, workload))
        case NodeChanged():
            return _node_changed(state, event)
        case FeedChanged():
            node = _node(state, event.node)
            node = replace(node, connected=event.connected, last_error=event.error or node.last_error)
            return replace(state, nodes=_with(state.nodes, event.node, node))
        case NodeMeasured():
            node = _node(state, event.node)
            node = replace(
                node,
                peers=event.peers,
                version=event.version or node.version,
                cpu=event.cpu,
                memory=event.memory,
            )
            return replace(state, nodes=_with(state.nodes, event.node, node))
        case NodePlaced(name, directory, reach):
            node = replace(_node(state, name), directory=directory, reach=reach)
            return replace(state, nodes=_with(state.nodes, name, node))
        case ClockMeasured():
            return _clock(state, event)
        case FaultStaged():
            return _fault(state, event)
        case StepStaged():
            before = state.steps.get(event.step)
            reached = _with(before.reached if before else {}, event.stage, state.t)
            step = StepState(event.step, event.what, event.stage, reached, event.detail, event.source)
            return replace(state, steps=_with(state.steps, event.step, step))
        case ViolationSeen():
            return _violation(state, event)
        case ExpectationJudged():
            return _judged(state, event)
        case NetworkAdopted(block_interval, finality_depth, duration) if state.run is not None:
            run = replace(state.run, block_interval=block_interval, finality_depth=finality_depth, duration=duration)
            return replace(state, run=run)
        case TaskRan():
            return _task_ran(state, event)
        case Steered("pause"):
            return replace(state, paused_at=state.t)
        case Steered("resume") if state.paused_at is not None:
            return replace(state, paused_at=None, paused_for=state.paused_for + state.t - state.paused_at)
        case Note():
            return _note(state, event)
        case PhaseStarted():
            return replace(state, phases=(*state.phases, PhaseState(event.phase, state.t, event.budget)))
        case PhaseEnded():
            return _phase_ended(state, event)
        case RunStarted():
            return _started(state, event, recorded)
        case RunFinished():
            return replace(state, finish=event)
        case _:
            return state


def _with(mapping: Mapping[K, V], key: K, value: V) -> dict[K, V]:
    """A copy with one entry more, or another value for it. Copying 200 entries costs about a microsecond."""
    return {**mapping, key: value}


def _node(state: RunState, name: str) -> NodeStatus:
    return state.nodes.get(name) or NodeStatus(name)


def _progress(known: WorkloadState | None, event: WorkloadProgress, t: float) -> WorkloadState:
    latency = event.latency or (known.latency if known is not None else {})
    return WorkloadState(event.workload, event.figures, t, event.final, event.target, latency, event.machines)


def _block(state: RunState, event: BlockObserved) -> RunState:
    node = replace(_node(state, event.node), height=event.height, hash=event.hash)
    nodes = _with(state.nodes, event.node, node)
    highest = state.highest
    if highest is not None and event.height <= highest.height:
        return replace(state, nodes=nodes)
    block = BlockRef(event.height, event.hash, event.node, event.time, state.t)
    return replace(state, nodes=nodes, recent=(*state.recent[1 - RECENT_BLOCKS :], block))


def _node_changed(state: RunState, event: NodeChanged) -> RunState:
    node = _node(state, event.node)
    unasked = event.state == "exited" and not event.expected
    node = replace(
        node,
        state=event.state,
        why=event.why,
        pid=event.pid,
        exits=node.exits + unasked,
        last_error=event.why if unasked else node.last_error,
    )
    if event.state != "running":  # nobody measures it then, and what was measured holds no more
        node = replace(node, peers=None, cpu=None, memory=None)
    return replace(state, nodes=_with(state.nodes, event.node, node))


def _clock(state: RunState, event: ClockMeasured) -> RunState:
    told = {
        name: replace(_node(state, name), clock_ahead=event.ahead, clock_uncertainty=event.uncertainty)
        for name in event.nodes
    }
    return replace(state, nodes={**state.nodes, **told})


def _fault(state: RunState, event: FaultStaged) -> RunState:
    fault = state.faults.get(event.id)
    if fault is None:
        fault = FaultState(event.id, event.fault, event.targets, event.by, event.stage)
    fault = replace(
        fault,
        stage=event.stage,
        targets=event.targets or fault.targets,
        by=event.by or fault.by,
        seen=_with(fault.seen, event.stage, event.seen) if event.seen else fault.seen,
        reached=_with(fault.reached, event.stage, state.t),
        error=event.error or fault.error,
        options=event.options or fault.options,
    )
    return replace(state, faults=_with(state.faults, event.id, fault))


def _expectation(state: RunState, name: str) -> ExpectationState:
    return state.expectations.get(name) or ExpectationState(name)


def _violation(state: RunState, event: ViolationSeen) -> RunState:
    expectation = _expectation(state, event.expectation)
    violations = expectation.violations
    if len(violations) < MAX_VIOLATIONS:
        violations = (*violations, Seen(state.t, event.message, event.evidence))
    expectation = replace(expectation, violations=violations, violation_count=expectation.violation_count + 1)
    return replace(state, expectations=_with(state.expectations, event.expectation, expectation))


def _judged(state: RunState, event: ExpectationJudged) -> RunState:
    expectation = replace(
        _expectation(state, event.expectation),
        verdict=event.verdict,
        measured=event.measured,
        asked=event.asked,
        source=event.source,
        evidence=event.evidence,
    )
    return replace(state, expectations=_with(state.expectations, event.expectation, expectation))


def _note(state: RunState, event: Note) -> RunState:
    remark = Remark(state.t, event.component, event.level, event.message)
    if event.level == "info":
        return replace(state, notes=(*state.notes[1 - MAX_NOTES :], remark))
    key = (event.component, event.level, event.message)
    known = state.warnings.get(key)
    if known is not None:
        return replace(state, warnings=_with(state.warnings, key, replace(known, count=known.count + 1)))
    if len(state.warnings) >= MAX_WARNINGS:
        return state
    return replace(state, warnings=_with(state.warnings, key, remark))


def _task_ran(state: RunState, event: TaskRan) -> RunState:
    host = state.prepared.get(event.host) or PreparedHost(event.host)
    host = replace(
        host,
        ok=host.ok + (not event.error),
        changed=host.changed + event.changed,
        error=f"{event.task}: {event.error}" if event.error else host.error,
    )
    tasks = state.tasks if event.task in state.tasks else (*state.tasks, event.task)
    return replace(state, tasks=tasks, prepared=_with(state.prepared, event.host, host))


def _phase_ended(state: RunState, event: PhaseEnded) -> RunState:
    """Ends the last open phase of that name: teardown runs inside whatever was going on when a run is interrupted."""
    phases = list(state.phases)
    for index in reversed(range(len(phases))):
        if phases[index].phase == event.phase and phases[index].ok is None:
            break
    else:
        index = len(phases)
        phases.append(PhaseState(event.phase, max(0.0, state.t - event.seconds)))
    phases[index] = replace(phases[index], ok=event.ok, seconds=event.seconds, error=event.error)
    return replace(state, phases=tuple(phases))


def _started(state: RunState, event: RunStarted, recorded: Recorded) -> RunState:
    nodes = {
        name: replace(_node(state, name), role=str(about.get("role", "")), machine=str(about.get("machine", "")))
        for name, about in event.nodes.items()
    }
    return replace(
        state,
        run=event,
        began=recorded.at - recorded.t,
        nodes={**state.nodes, **nodes},
        workloads={**{name: WorkloadState(name, {}, state.t) for name in event.workloads}, **state.workloads},
        expectations={
            **{
                name: ExpectationState(name, source=event.sources.get(name, ""), watched=name in event.watched)
                for name in event.expectations
            },
            **state.expectations,
        },
    )
