"""A run over time, in bounded memory: its state at any moment, and the series that its charts show."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.record.events import BlockObserved, Event, Recorded, ViolationSeen, WorkloadProgress
from harness.record.reduce import Fold
from harness.record.state import RunState
from harness.tui.follow import read_from

FIRST_SPACING = 1024
"""Events between two states that are kept, as long as there are few."""
KEPT = 512
"""States kept at most: at twice as many, every other one is let go."""
HEIGHTS_KEPT = 64
"""Heights of which a header's time is remembered, for the interval to the next."""
FIGURES = ("offered", "accepted", "included")
TROUBLES = ("rejected", "dropped", "failed", "timed_out")


class Track:
    """Values over time, oldest first: 16 bytes each."""

    def __init__(self) -> None:
        self.times = array("d")
        self.values = array("d")

    def add(self, t: float, value: float) -> None:
        self.times.append(t)
        self.values.append(value)

    def __len__(self) -> int:
        return len(self.times)

    def between(self, start: float, end: float) -> tuple[Sequence[float], Sequence[float]]:
        """Times and values after `start`, up to and with `end`."""
        first, last = bisect_right(self.times, start), bisect_right(self.times, end)
        return self.times[first:last], self.values[first:last]

    def at(self, t: float) -> float | None:
        """The last value known then."""
        index = bisect_right(self.times, t)
        return self.values[index - 1] if index else None

    def since(self, t: float, seconds: float) -> float | None:
        """The last value known then, unless it is older than that."""
        index = bisect_right(self.times, t)
        return self.values[index - 1] if index and t - self.times[index - 1] <= seconds else None

    def rate(self, start: float, end: float) -> float | None:
        """By how much it grew a second between the two, None where that is not known."""
        times, values = self.between(start, end)
        if len(times) < 2 or times[-1] <= times[0]:
            return None
        return (values[-1] - values[0]) / (times[-1] - times[0])

    def growth(self, until: float) -> float | None:
        """By how much it grew a second on the whole, for as long as it did; None where that is not known."""
        end = bisect_right(self.times, until)
        last = bisect_left(self.values, self.values[end - 1], 0, end) if end else 0  # when it was as much first
        if not last or self.times[last] <= self.times[0]:
            return 0.0 if end > 1 else None
        return (self.values[last] - self.values[0]) / (self.times[last] - self.times[0])


@dataclass(frozen=True, slots=True)
class Kept:
    """The state before the event that begins at `place`, as it was at `t`."""

    t: float
    place: int
    state: RunState


@dataclass(slots=True)
class Series:
    """What charts show. `intervals`: seconds from header to header, at the moment the later one was first seen.
    `highest`: the greatest height seen anywhere."""

    intervals: Track = field(default_factory=Track)
    highest: Track = field(default_factory=Track)
    figures: dict[str, dict[str, Track]] = field(default_factory=dict)
    violations: list[tuple[float, str]] = field(default_factory=list)


class History:
    """Fed with a journal's events in order. `state` is the newest."""

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._fold = Fold()
        self._shown = Kept(0.0, 0, RunState())  # the last moment that was asked for
        self.series = Series()
        self._kept = [Kept(0.0, 0, RunState())]
        self._since = 0
        self._spacing = FIRST_SPACING
        self._header_times: dict[int, float] = {}
        self._top = -1

    @property
    def state(self) -> RunState:
        return self._fold.state

    def add(self, place: int, recorded: Recorded) -> None:
        self._since += 1
        if self._since >= self._spacing:
            self._keep(place)
        self._fold.add(recorded)
        self._chart(recorded.t, recorded.event)

    def at(self, t: float) -> RunState:
        """The state as it was then. Raises OSError when the journal cannot be read any more."""
        if t >= self.state.t:
            return self.state
        start = self._kept[max(0, bisect_right(self._kept, t, key=lambda one: one.t) - 1)]
        if start.t <= self._shown.t <= t and self._shown.place >= start.place:
            start = self._shown
        fold, place = Fold(start.state), start.place
        for after, recorded in read_from(self._journal, start.place, t):
            fold.add(recorded)
            place = after
        self._shown = Kept(t, place, fold.state)
        return fold.state

    def _keep(self, place: int) -> None:
        self._since = 0
        state = self.state
        self._kept.append(Kept(state.t, place, state))
        if len(self._kept) >= 2 * KEPT:
            self._kept = self._kept[::2]
            self._spacing *= 2

    def _chart(self, t: float, event: Event) -> None:
        match event:
            case BlockObserved() if event.height > self._top:
                before = self._header_times.get(event.height - 1)
                if before is not None:
                    self.series.intervals.add(t, event.time - before)
                self._top = event.height
                self.series.highest.add(t, event.height)
                self._header_times[event.height] = event.time
                if len(self._header_times) > HEIGHTS_KEPT:
                    del self._header_times[next(iter(self._header_times))]
            case WorkloadProgress(workload, figures):
                self._count(t, workload, figures)
            case ViolationSeen(expectation):
                self.series.violations.append((t, expectation))

    def _count(self, t: float, workload: str, figures: Mapping[str, Any]) -> None:
        if "offered" not in figures:
            return
        tracks = self.series.figures.setdefault(workload, {})
        for name in FIGURES:
            if name not in figures:
                continue  # what goes into no block is in none: not nought of it
            tracks.setdefault(name, Track()).add(t, number(figures.get(name)))
        tracks.setdefault("troubles", Track()).add(t, sum(number(figures.get(name)) for name in TROUBLES))


def number(value: object) -> float:
    """Of a figure, which may be whatever a plugin wrote: nought where it is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    try:
        return float(value)
    except OverflowError:
        return 0.0


def percentile(values: Iterable[float], share: float) -> float | None:
    """The smallest value that at least this share of all do not exceed (nearest rank); None of none."""
    ordered = sorted(values)
    if not ordered:
        return None
    return ordered[max(1, math.ceil(round(share * len(ordered), 9))) - 1]


def spread(track: Track, start: float, end: float, columns: int) -> Iterator[list[float]]:
    """The values of a track in so many equal stretches of time."""
    times, values = track.between(start, end)
    width = (end - start) / columns if columns else 0.0
    stretches: list[list[float]] = [[] for _ in range(columns)]
    for t, value in zip(times, values, strict=True):
        if width > 0:
            stretches[min(columns - 1, int((t - start) / width))].append(value)
    yield from stretches
