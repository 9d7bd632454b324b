"""Everything that happens in a run, as typed events. The journal is these, one JSON object to a line.

A line is `{"seq": 12, "at": <Unix seconds>, "t": <seconds since the run began>, "kind": "...", …fields}`.
Readers ignore kinds and fields that they do not know, so a journal outlives the version that wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events."""


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """First line of every journal. `nodes` maps a node's name to {role, machine, links: [names]}. `command` are the
    words that started the run, where it was a command; `deployer_options` what its deployer can be made from again.
    `matrix` is {id, number, of, varies}: which of how many runs of one matrix this is, from 1, and the variables in
    which they differ; empty for a run of its own. `watched`: the expectations that would see a violation while the run
    goes on. `sources`: where each expectation is asked for, as ExpectationJudged has it."""

    run_id: str
    name: str
    seed: int
    version: str
    chain: str
    deployer: str
    duration: float
    block_interval: float
    finality_depth: int
    playbook: str
    nodes: Mapping[str, Mapping[str, Any]]
    workloads: tuple[str, ...]
    expectations: tuple[str, ...]
    variables: Mapping[str, Any] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    deployer_options: Mapping[str, Any] = field(default_factory=dict)
    matrix: Mapping[str, Any] = field(default_factory=dict)
    watched: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PhaseStarted(Event):
    """`phase` is one of plan, deploy, prepare (within deploy), ready, capture, drive, settle, evaluate, teardown.
    `budget` in seconds, None where it has none."""

    phase: str
    budget: float | None = None


@dataclass(frozen=True, slots=True)
class PhaseEnded(Event):
    phase: str
    ok: bool
    seconds: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class NetworkAdopted(Event):
    """The run is on a network that was there before: its pace, in the place of the one that RunStarted tells."""

    block_interval: float
    finality_depth: int
    duration: float


@dataclass(frozen=True, slots=True)
class NodeChanged(Event):
    """A node's state changed (harness.plugin.contract.node.NodeState). `why` says who wanted it, or how it ended."""

    node: str
    state: str
    pid: int | None = None
    why: str = ""
    expected: bool = True


@dataclass(frozen=True, slots=True)
class NodePlaced(Event):
    """A node has its place: its folder on its machine, "" where it is somebody else's, and the words for a shell that
    bring a person there (harness.plugin.contract.deployer.Placement.reach)."""

    node: str
    directory: str = ""
    reach: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClockMeasured(Event):
    """A machine's clock, by which these nodes stamp what they write, is `ahead` seconds ahead of the controller's,
    certainly within `uncertainty` seconds."""

    machine: str
    nodes: tuple[str, ...]
    ahead: float
    uncertainty: float


@dataclass(frozen=True, slots=True)
class BlockObserved(Event):
    """The feed saw a block at a node. `time` is the header's own (Unix seconds)."""

    node: str
    height: int
    hash: str
    parent: str
    time: float
    proposer: str = ""
    tx_count: int = 0
    live: bool = True


@dataclass(frozen=True, slots=True)
class NodeMeasured(Event):
    """How a node is doing. `peers`: how many it says it is connected with; `version`: what it says it is; `cpu` in
    cores, since the last time; `memory` in bytes. None and "": not known."""

    node: str
    peers: int | None = None
    version: str = ""
    cpu: float | None = None
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class FeedChanged(Event):
    """The feed lost or found its connection to a node. `error` is untrusted text."""

    node: str
    connected: bool
    error: str = ""


@dataclass(frozen=True, slots=True)
class WorkloadProgress(Event):
    """Figures of one workload so far. `final`: it has ended. `target` is how many a second were to be sent, None where
    that is not said; `latency`, from the intended send to the final block, is as Latencies.summary has it, and left out
    of most: the last one holds. `machines`, with the last one only: what each that sent did of it, as
    SenderAccount.by_machine has it."""

    workload: str
    figures: Mapping[str, Any]
    final: bool = False
    target: float | None = None
    latency: Mapping[str, float] = field(default_factory=dict)
    machines: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FaultStaged(Event):
    """A fault came a step further: intended, injected, proven, unproven (it could not be told whether it is there),
    not-applied, healing, healed, healing-unproven, not-healed. `options` come with the first, and `turn`: which one of
    the schedule of `by` it is, None where it is of no schedule."""

    id: str
    fault: str
    targets: tuple[str, ...]
    stage: str
    by: str = ""
    seen: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    turn: int | None = None


@dataclass(frozen=True, slots=True)
class FaultsScheduled(Event):
    """All that a nemesis is going to do, in turns: {at: seconds from the drive's begin, fault, targets, options,
    duration: seconds}. No targets: nobody was free then. `seed` fixes what the faults draw."""

    component: str
    turns: tuple[Mapping[str, Any], ...]
    seed: int


@dataclass(frozen=True, slots=True)
class FaultSkipped(Event):
    """A turn of a nemesis's schedule (its index there) was not taken."""

    component: str
    turn: int
    why: str


@dataclass(frozen=True, slots=True)
class StepStaged(Event):
    """A step of the timeline: begun, ran (a command, `detail` is what it said: untrusted), done, failed, or skipped
    because its time did not come. `source` is where the playbook has it."""

    step: str
    what: str
    stage: str
    detail: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class ViolationSeen(Event):
    """An expectation saw itself violated while the run went on."""

    expectation: str
    message: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExpectationJudged(Event):
    """`source` is where the playbook asks for it ("file:line"), "" for one that a workload brought along."""

    expectation: str
    verdict: str
    measured: str
    asked: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""


@dataclass(frozen=True, slots=True)
class CommandRan(Event):
    """A command was run on a machine, by whatever part of the run. `returncode` is None when nobody saw it end, and
    `error` says why. `user` is who it ran as, "" for whoever one is there."""

    machine: str
    argv: tuple[str, ...]
    returncode: int | None
    seconds: float
    user: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class TaskRan(Event):
    """A task of `[[prepare]]` ended on a host: it changed something there, or all was as it should be. `error` is why
    it failed, "" when it did not: untrusted text."""

    host: str
    task: str
    changed: bool
    detail: str
    seconds: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class Steered(Event):
    """Somebody who watches the run has asked for something: `what` is pause, resume, abort or fault. `by` is who."""

    what: str
    by: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Note(Event):
    """`level` is info, warning or error."""

    component: str
    level: str
    message: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunFinished(Event):
    """Last line of a journal whose run came to its end. `reason` says in a sentence what decided the exit code.

    `status` is done, interrupted, not-usable, infrastructure-failed or teardown-incomplete."""

    verdict: str
    exit_code: int
    status: str
    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event with its envelope: sequence number, Unix time, seconds since the run began."""

    seq: int
    at: float
    t: float
    event: Event
