"""What a journal tells of a run over time, in one pass and bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from harness.record.events import (
    BlockObserved,
    Event,
    FaultStaged,
    NodeChanged,
    NodeMeasured,
    Recorded,
    Steered,
    ViolationSeen,
    WorkloadProgress,
)
from harness.record.reduce import reduce, reduce_all
from harness.record.state import RunState
from harness.report.series import MAX_BUCKETS, Point, Points, Series

MAX_NODES = 256
MAX_WORKLOADS = 24
MAX_MARKS = 200
MAX_INTERVALS = 200_000
"""Nodes and workloads with series of their own, moments and intervals that are remembered; others are counted in
`Observed.left_out`."""
_ENOUGH_NODES = 16
_COARSE = 120
_HEIGHT_KEPT = 4096
_LONGEST = 1e7
_TELLING = 2
_AFTERWARDS = 1e-6
_REFUSED = ("rejected", "dropped", "failed", "timed_out")


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened at `t`: `kind` is exit, violation or steered (somebody who watched asked for it)."""

    t: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Observed:
    """A run, and what was seen over time.

    intervals   seconds between the headers of consecutive heights, when the second was first seen: every one of the
                first MAX_INTERVALS, not thinned as the others are
    heights     by node
    behind      by node: blocks that it was behind the highest seen anywhere by then
    measures    cpu (cores) and memory (bytes) by node
    counts      by workload and figure, as they grew; `refused` are those not accepted, together
    caught_up   by fault: seconds from its end until each of its nodes had shown a block anew that was as high as the
                highest then
    pauses      when somebody held the workloads
    seen_blocks different heights that were seen
    thinned     whether a series has points that are not shown
    left_out    what is not in here, and how much of it
    """

    state: RunState
    intervals: Points = ()
    heights: Mapping[str, Points] = field(default_factory=dict)
    behind: Mapping[str, Points] = field(default_factory=dict)
    measures: Mapping[str, Mapping[str, Points]] = field(default_factory=dict)
    counts: Mapping[str, Mapping[str, Points]] = field(default_factory=dict)
    moments: tuple[Moment, ...] = ()
    caught_up: Mapping[str, float] = field(default_factory=dict)
    pauses: tuple[tuple[float, float], ...] = ()
    seen_blocks: int = 0
    thinned: bool = False
    left_out: Mapping[str, int] = field(default_factory=dict)


def observe(events: Iterable[Recorded]) -> Observed:
    """Total, as `reduce` is: any sequence of events gives something.

    Of the blocks that change nothing but how high their node is, which are nearly all events, the state needs each
    node's last one only: a run of hours is read in half the time."""
    watcher = _Watcher()
    state, latest = RunState(), None
    passed: dict[str, Recorded] = {}
    for recorded in events:
        latest, event = recorded, recorded.event
        watcher.see(recorded.t, event)
        if isinstance(event, BlockObserved):
            highest = state.highest
            if highest is not None and event.height <= highest.height and event.node in state.nodes:
                passed[event.node] = recorded
                continue
            passed.pop(event.node, None)
        state = reduce(state, recorded)
    state = reduce_all(sorted(passed.values(), key=_place), state)
    return watcher.observed(state if latest is None else replace(state, seq=latest.seq, t=latest.t))


def _place(recorded: Recorded) -> int:
    return recorded.seq


class _Watcher:
    def __init__(self) -> None:
        self._top = -math.inf
        self._times: dict[int, float] = {}  # header's time by height, of the newest heights
        self._intervals: list[tuple[float, float]] = []
        self._heights: dict[str, Series] = {}
        self._seen: set[str] = set()  # nodes with a block
        self._lags: dict[str, _Lag] = {}
        self._counts: dict[str, dict[str, Series]] = {}
        self._moments: list[Moment] = []
        self._left_out: dict[str, set[str]] = {}
        self._lost_moments = self._lost_intervals = self._odd = 0
        self._awaited: dict[str, tuple[float, float, set[str]]] = {}  # fault → healed at, height to reach, nodes
        self._caught_up: dict[str, float] = {}
        self._measures: dict[str, dict[str, Series]] = {}
        self._pauses: list[tuple[float, float]] = []
        self._paused_at: float | None = None
        self._blocks = 0

    def see(self, t: float, event: Event) -> None:
        match event:
            case BlockObserved():
                self._block(t, event)
            case WorkloadProgress(workload, figures):
                self._figures(t, workload, figures)
            case NodeChanged(node, "exited", _, why, False):
                self._moment(t, "exit", f"{node} exited unasked: {why or 'no reason known'}")
            case ViolationSeen(expectation, message):
                self._moment(t, "violation", f"{expectation}: {message}")
            case NodeMeasured(node, _, _, cpu, memory):
                self._measured(t, node, "cpu", cpu)
                self._measured(t, node, "memory", memory)
            case Steered(what, by, detail):
                self._moment(t, "steered", f"{what} by {by}" + (f": {detail}" if detail else ""))
                self._steered(t, what)
            case FaultStaged(id, _, targets, "healed"):
                if waiting := self._seen.intersection(targets):
                    self._awaited[id] = (t, self._top, waiting)
            case FaultStaged(id, _, _, "injected"):
                self._awaited.pop(id, None)
            case _:
                pass

    def _block(self, t: float, block: BlockObserved) -> None:
        if block.node in self._heights:
            self._heights[block.node].add(t, block.height)
        elif len(self._heights) < MAX_NODES:
            series = Series() if len(self._heights) < _ENOUGH_NODES else Series(_COARSE)
            self._heights[block.node] = series
            self._lags[block.node] = _Lag(Series(series.limit))
            series.add(t, block.height)
        else:
            self._left_out.setdefault("nodes", set()).add(block.node)
        if (lag := self._lags.get(block.node)) is not None:
            lag.see(t, block.height, self._top)
        self._seen.add(block.node)
        if block.height > self._top:
            self._top = block.height
            self._new_height(t, block)
        for id, (healed, goal, nodes) in list(self._awaited.items()):
            if block.height >= goal and block.node in nodes:
                nodes.discard(block.node)
                if not nodes:
                    self._caught_up[id] = t - healed
                    del self._awaited[id]

    def _new_height(self, t: float, block: BlockObserved) -> None:
        self._blocks += 1
        before = self._times.get(block.height - 1)
        if before is not None and block.live:
            self._interval(t, block.time - before)
        self._times[block.height] = block.time
        if len(self._times) > _HEIGHT_KEPT:
            self._times.pop(next(iter(self._times)))

    def _interval(self, t: float, seconds: float) -> None:
        if not (math.isfinite(seconds) and abs(seconds) < _LONGEST and math.isfinite(t)):
            self._odd += 1
        elif len(self._intervals) < MAX_INTERVALS:
            self._intervals.append((t, seconds))
        else:
            self._lost_intervals += 1

    def _figures(self, t: float, workload: str, figures: Mapping[str, Any]) -> None:
        if "offered" not in figures:
            return
        if workload not in self._counts and len(self._counts) >= MAX_WORKLOADS:
            self._left_out.setdefault("workloads", set()).add(workload)
            return
        series = self._counts.setdefault(workload, {})
        for name in ("offered", "accepted", "included"):
            if (count := _count(figures.get(name))) is not None:
                series.setdefault(name, Series()).add(t, count)
        refused = [count for name in _REFUSED if (count := _count(figures.get(name))) is not None]
        series.setdefault("refused", Series()).add(t, sum(refused))

    def _measured(self, t: float, node: str, what: str, value: float | None) -> None:
        of_nodes = self._measures.setdefault(what, {})
        count = _count(value)
        if count is None or (node not in of_nodes and len(of_nodes) >= MAX_NODES):
            return
        limit = MAX_BUCKETS if len(of_nodes) < _ENOUGH_NODES else _COARSE
        of_nodes.setdefault(node, Series(limit)).add(t, count)

    def _steered(self, t: float, what: str) -> None:
        if what == "pause" and self._paused_at is None:
            self._paused_at = t
        elif what == "resume" and self._paused_at is not None:
            if len(self._pauses) < MAX_MARKS:
                self._pauses.append((self._paused_at, t))
            self._paused_at = None

    def _moment(self, t: float, kind: str, text: str) -> None:
        if len(self._moments) < MAX_MARKS:
            self._moments.append(Moment(t, kind, text))
        else:
            self._lost_moments += 1

    def observed(self, state: RunState) -> Observed:
        every = list(self._heights.values())
        every += [series for workload in self._counts.values() for series in workload.values()]
        left_out = {what: len(names) for what, names in self._left_out.items()}
        if self._lost_moments:
            left_out["exits and violations"] = self._lost_moments
        if self._lost_intervals:
            left_out["block intervals"] = self._lost_intervals
        if self._odd:
            left_out["block intervals of impossible header times"] = self._odd
        return Observed(
            state,
            tuple(self._intervals),
            {node: series.points() for node, series in self._heights.items()},
            {node: lag.end(state.t, self._top) for node, lag in self._lags.items()},
            _points(self._measures),
            _points(self._counts),
            tuple(self._moments),
            self._caught_up,
            tuple(self._pauses) if self._paused_at is None else (*self._pauses, (self._paused_at, state.t)),
            self._blocks,
            any(series.is_thinned for series in every),
            left_out,
        )


def _points(series: Mapping[str, Mapping[str, Series]]) -> dict[str, Mapping[str, Points]]:
    return {name: {key: one.points() for key, one in inner.items()} for name, inner in series.items()}


class _Lag:
    """By how many blocks a node is behind the highest, from each of its blocks to the next.

    Whenever another node was faster it is one behind, for a moment: just before a block that does not count."""

    def __init__(self, series: Series) -> None:
        self._series = series
        self._height: int | None = None
        self._at = self._behind = 0.0
        self._latest = -math.inf
        self._is_told = True

    def see(self, t: float, height: int, top: float) -> None:
        """The node showed this block, when `top` was the highest anywhere."""
        behind = max(0.0, top - height)
        is_new = self._until(t, top) or behind > 0 or self._behind > 0 or self._height is None
        if is_new:
            self._tell(self._at, self._behind)
        self._at, self._behind, self._height, self._is_told = t, behind, height, False
        if is_new:
            self._tell(t, behind)

    def end(self, t: float, top: float) -> list[Point]:
        """All of it, to the end of the run."""
        if not self._until(t, top):
            self._tell(self._at, self._behind)
        return self._series.points()

    def _until(self, t: float, top: float) -> bool:
        before = 0.0 if self._height is None else top - self._height
        if before < _TELLING:
            return False
        self._tell(self._at, self._behind)
        self._is_told = False
        self._tell(t, before)
        return True

    def _tell(self, t: float, behind: float) -> None:
        """Blocks that come at once are told one after the other."""
        if not self._is_told:
            self._latest = max(t, self._latest + _AFTERWARDS)
            self._series.add(self._latest, behind)
            self._is_told = True


def _count(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None
