"""The state of a run, as far as its journal tells: what every face and report shows.

Values only, shared structurally from one event to the next. Times called `t` or `…_at` are seconds since the run
began, unless they say otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from harness.record.events import RunFinished, RunStarted
from harness.record.evidence import mechanism_of

RECENT_BLOCKS = 32
"""How many of the newest blocks the state remembers, for rates."""
MAX_NOTES = 50
MAX_WARNINGS = 200
MAX_VIOLATIONS = 10
"""How many of each the state keeps; the journal has all."""


@dataclass(frozen=True, slots=True)
class PhaseState:
    """`ok` and `seconds` are None while it lasts."""

    phase: str
    started_at: float
    budget: float | None = None
    ok: bool | None = None
    seconds: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class PreparedHost:
    """What came of the tasks of `[[prepare]]` on one host: those that ended well, those of them that changed something,
    and why the one that failed did."""

    host: str
    ok: int = 0
    changed: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """What is known of a node. `peers`, `version`, `cpu` and `memory` as NodeMeasured has them. `height` and `hash`:
    the last block seen there. `connected`: the feed's connection, None before there was one. `exits` counts the ends of
    its process that the harness had not asked for. `directory` and `reach` as NodePlaced has them; `clock_ahead` and
    `clock_uncertainty` as ClockMeasured does, None before there was one."""

    name: str
    role: str = ""
    machine: str = ""
    state: str = "created"
    why: str = ""
    pid: int | None = None
    height: int = 0
    hash: str = ""
    connected: bool | None = None
    exits: int = 0
    last_error: str = ""
    peers: int | None = None
    version: str = ""
    cpu: float | None = None
    memory: int | None = None
    directory: str = ""
    reach: tuple[str, ...] = ()
    clock_ahead: float | None = None
    clock_uncertainty: float = 0.0

    @property
    def clock_correction(self) -> float:
        """Seconds to be taken from times by its clock: 0 where it is not known to be off."""
        ahead = self.clock_ahead
        return ahead if ahead is not None and abs(ahead) > self.clock_uncertainty else 0.0


@dataclass(frozen=True, slots=True)
class BlockRef:
    """A block that was the highest when it was first seen. `time` is its header's own (Unix seconds), `t` when and
    `node` where it was seen first."""

    height: int
    hash: str
    node: str
    time: float
    t: float


@dataclass(frozen=True, slots=True)
class WorkloadState:
    """The last figures of a workload, as WorkloadProgress has them."""

    workload: str
    figures: Mapping[str, Any]
    t: float
    final: bool = False
    target: float | None = None
    latency: Mapping[str, float] = field(default_factory=dict)
    machines: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FaultState:
    """One fault. `stage` is its last (see FaultStaged), `reached` when it came to each of its stages, `seen` what
    was looked at then."""

    id: str
    fault: str
    targets: tuple[str, ...]
    by: str
    stage: str
    reached: Mapping[str, float] = field(default_factory=dict)
    seen: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    error: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def mechanism(self) -> str:
        """What it was done by (relay, nft, tc), "" where its evidence does not say."""
        return next((mechanism_of(seen) for seen in self.seen.values() if mechanism_of(seen)), "")

    @property
    def active(self) -> bool:
        """Whether it disturbs the network now, as far as is known."""
        return "injected" in self.reached and self.stage not in ("healed", "healing-unproven", "not-applied")

    @property
    def broken(self) -> bool:
        """Whether it was not applied, or not healed."""
        return "not-applied" in self.reached or "not-healed" in self.reached

    @property
    def doubtful(self) -> bool:
        """Whether it could not be told if it was there, or gone."""
        return "unproven" in self.reached or "healing-unproven" in self.reached

    @property
    def held(self) -> float | None:
        """Seconds from injection until it was seen to be healed: how long its targets were disturbed. None while it
        holds."""
        start = self.reached.get("injected")
        end = self.reached.get("healed", self.reached.get("healing-unproven"))
        return None if start is None or end is None else max(0.0, end - start)


@dataclass(frozen=True, slots=True)
class StepState:
    """A step of the timeline. `stage` is its last (see StepStaged), `reached` when it came to each."""

    step: str
    what: str
    stage: str
    reached: Mapping[str, float] = field(default_factory=dict)
    detail: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """A violation as it was seen at `t`."""

    t: float
    message: str
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ExpectationState:
    """One expectation. `verdict` is "" until it is judged; `violations` are the first of `violation_count`. `watched`:
    it would see a violation while the run goes on."""

    expectation: str
    verdict: str = ""
    measured: str = ""
    asked: str = ""
    source: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    violations: tuple[Seen, ...] = ()
    violation_count: int = 0
    watched: bool = False

    @property
    def stage(self) -> str:
        """`pending`, `violated` or `judged`. One that has seen nothing wrong so far is still pending: silence is no
        evidence."""
        return "judged" if self.verdict else "violated" if self.violation_count else "pending"


@dataclass(frozen=True, slots=True)
class Remark:
    """A note, and how often it was made in the same words."""

    t: float
    component: str
    level: str
    message: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class RunState:
    """Everything. `run` is None before the first line, `finish` until the last one. `tasks` are those of `[[prepare]]`
    that have run anywhere, `prepared` what came of them. `recent` are the newest highest blocks, oldest first; `seq`
    and `t` those of the last event; `began` is Unix time. `paused_at`: since when somebody holds the workloads;
    `paused_for`: seconds for which they were held before."""

    seq: int = 0
    t: float = 0.0
    began: float = 0.0
    run: RunStarted | None = None
    phases: tuple[PhaseState, ...] = ()
    tasks: tuple[str, ...] = ()
    prepared: Mapping[str, PreparedHost] = field(default_factory=dict)
    nodes: Mapping[str, NodeStatus] = field(default_factory=dict)
    recent: tuple[BlockRef, ...] = ()
    workloads: Mapping[str, WorkloadState] = field(default_factory=dict)
    faults: Mapping[str, FaultState] = field(default_factory=dict)
    steps: Mapping[str, StepState] = field(default_factory=dict)
    expectations: Mapping[str, ExpectationState] = field(default_factory=dict)
    notes: tuple[Remark, ...] = ()
    warnings: Mapping[tuple[str, str, str], Remark] = field(default_factory=dict)
    finish: RunFinished | None = None
    paused_at: float | None = None
    paused_for: float = 0.0

    @property
    def highest(self) -> BlockRef | None:
        """The highest block seen at any node."""
        return self.recent[-1] if self.recent else None

    @property
    def clock_corrections(self) -> Mapping[str, float]:
        """NodeStatus.clock_correction of the nodes whose clock was looked at."""
        return {name: node.clock_correction for name, node in self.nodes.items() if node.clock_ahead is not None}

    @property
    def started(self) -> datetime | None:
        """When the run began, in UTC; None when that is not known, or no time at all."""
        try:
            return datetime.fromtimestamp(self.began, UTC) if self.began else None
        except (ValueError, OverflowError, OSError):
            return None

    @property
    def phase(self) -> str:
        """The phase that the run is in, the innermost where one is within another; "" before the first."""
        latest = next((phase for phase in reversed(self.phases) if phase.ok is None), None)
        return (latest or self.phases[-1]).phase if self.phases else ""

    @property
    def active_faults(self) -> tuple[FaultState, ...]:
        return tuple(fault for fault in self.faults.values() if fault.active)

    def lag(self, node: str) -> int | None:
        """Blocks by which this node is behind the highest seen anywhere; None where there is nothing to compare."""
        status, highest = self.nodes.get(node), self.highest
        if status is None or highest is None or not status.hash:
            return None
        return max(0, highest.height - status.height)

    def block_rate(self) -> float | None:
        """Blocks a second, by the headers' times of the newest blocks; None of fewer than two, or of clocks that
        stand still."""
        if len(self.recent) < 2:
            return None
        first, last = self.recent[0], self.recent[-1]
        seconds = last.time - first.time
        return (last.height - first.height) / seconds if seconds > 0 else None

    def status(self, alive: bool) -> str:
        """How the run stands: its final status; without one, "running" or "dead" as its controller is
        (RunDirectory.is_alive)."""
        if self.finish is not None:
            return self.finish.status
        return "running" if alive else "dead"
