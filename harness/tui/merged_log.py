"""The logs of all nodes and of the run itself as one, ordered by time. A few bytes are kept of each line; what it says
is read from its file when it is shown."""

from __future__ import annotations

import re
import time
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from heapq import heapify, heappop, heapreplace
from operator import itemgetter
from pathlib import Path

from harness.record.events import NodeChanged, Recorded
from harness.record.state import RunState
from harness.record.tables import Mood
from harness.record.telling import told
from harness.tui.file_lines import FileLines
from harness.tui.stamps import Level, level_of, time_of

RUN = "run"
"""The source of what the harness itself tells."""
_LINE_BITS = 40
_STEP = 100
"""Lines of one source that are taken in before another is looked at."""
_TIME = itemgetter(0)
_LEVELS = {Mood.BAD: Level.ERROR, Mood.DOUBTFUL: Level.WARNING}
_Entry = tuple[float, int, int]
"""When, the source's number and the line, and how grave."""
LOOK_EVERY = 3.0
"""Seconds between two looks for a log that is not there, unless its node's state changes."""
LEAST = 0.005
"""Seconds by which a clock must be known to be otherwise before lines are put elsewhere for it."""


class _Source:
    """A node's log. `clock`: Unix time of the last line that told one, by our clock; of when its node was started
    before that. `ahead`: how far its clock is ahead of ours, as far as is known. `undated`: how many lines come before
    the first that tells a time."""

    def __init__(self, path: Path, begins: float) -> None:
        self.lines = FileLines(path)
        self.clock = begins
        self.ahead = 0.0
        self.taken = 0
        self.undated = 0
        self.look_at = 0.0

    def grow(self, seconds: float) -> None:
        if not self.lines.is_there:
            now = time.monotonic()
            if now < self.look_at:
                return
            self.look_at = now + LOOK_EVERY
        self.lines.grow(seconds)


class MergedLog:
    """Times told are seconds since the run began. Lines that tell no time have that of the line before them in their
    file, and come after it."""

    def __init__(self) -> None:
        self.names: list[str] = [RUN]
        self._sources: dict[str, _Source] = {}
        self._to_look_at: list[_Source] = []  # whose files were not looked at this time
        self._own: list[tuple[str, Mood]] = []
        self._times = array("d")
        self._where = array("Q")  # source's number and line
        self._levels = array("B")
        self._began = 0.0
        self.rearranged = 0
        """How often lines that were there have been put elsewhere."""

    def __len__(self) -> int:
        return len(self._times)

    def add(self, recorded: Recorded, state: RunState) -> None:
        """What an event tells, if it tells anything."""
        self._began = state.began or self._began
        if isinstance(recorded.event, NodeChanged):
            self._changed(recorded.event.node, recorded.at)
        text, mood = told(recorded, state)
        if text:
            self._own.append((text, mood))
            level = _LEVELS.get(mood, Level.INFO)
            self._insert([(recorded.t, len(self._own) - 1, level)])

    def _changed(self, name: str, at: float) -> None:
        """A node's state did: its log may be there now."""
        source = self._sources.get(name)
        if source is not None:
            source.look_at = 0.0
            if not source.taken:
                source.clock = at

    def follow(self, logs: Mapping[str, Path]) -> None:
        """Take in the logs of these nodes too."""
        for name, path in logs.items():
            if name not in self._sources:
                self.names.append(name)
                self._sources[name] = _Source(path, self._began)

    def correct(self, ahead: Mapping[str, float]) -> None:
        """The clocks of these nodes are so many seconds ahead of ours, also where their lines were taken in before."""
        moved = {}
        for number, name in enumerate(self.names):
            source = self._sources.get(name)
            if source is None or name not in ahead or abs(ahead[name] - source.ahead) < LEAST:
                continue
            if source.taken > source.undated:
                source.clock += source.ahead - ahead[name]
                moved[number] = ahead[name] - source.ahead, source.undated
            source.ahead = ahead[name]
        if moved:
            self._move(moved)

    @property
    def corrected(self) -> Mapping[str, float]:
        """Nodes whose lines are not where their own clocks would have them, and how far those are ahead."""
        return {name: source.ahead for name, source in self._sources.items() if source.ahead}

    @property
    def unreadable(self) -> Mapping[str, str]:
        """Nodes whose logs cannot be read, and why."""
        return {name: source.lines.trouble for name, source in self._sources.items() if source.lines.trouble}

    def grow(self, seconds: float) -> bool:
        """Take in what was written, for so long at most; whether there is more. The source that lags behind most comes
        first, so that what is added belongs near the end."""
        give_up = time.monotonic() + seconds
        self._to_look_at = self._to_look_at or list(self._sources.values())
        while self._to_look_at:
            if time.monotonic() > give_up:
                return True
            self._to_look_at.pop().grow(max(0.001, give_up - time.monotonic()))
        waiting = [(one.clock, number) for number, name in enumerate(self.names) if (one := self._behind(name))]
        heapify(waiting)
        new: list[_Entry] = []
        while waiting and time.monotonic() < give_up:
            number = waiting[0][1]
            self._take(number, new)
            source = self._behind(self.names[number])
            if source is not None:
                heapreplace(waiting, (source.clock, number))
            else:
                heappop(waiting)
        self._insert(new)
        return bool(waiting)

    def until(self, t: float) -> int:
        """How many lines there were then."""
        return bisect_right(self._times, t)

    def time(self, index: int) -> float:
        return self._times[index]

    def level(self, index: int) -> Level:
        return Level(self._levels[index])

    def source(self, index: int) -> str:
        return self.names[self._where[index] >> _LINE_BITS]

    def text(self, index: int) -> str:
        """As it came: untrusted."""
        number, line = divmod(self._where[index], 1 << _LINE_BITS)
        if number == 0:
            return self._own[line][0]
        return self._sources[self.names[number]].lines.raw(line).decode(errors="replace").expandtabs(4)

    def close(self) -> None:
        for source in self._sources.values():
            source.lines.close()

    def _behind(self, name: str) -> _Source | None:
        """The source with this name, if there is more of it."""
        source = self._sources.get(name)
        return source if source is not None and source.taken < len(source.lines) else None

    def _take(self, number: int, new: list[_Entry]) -> None:
        source = self._sources[self.names[number]]
        is_dated = source.taken > source.undated
        end = min(source.taken + _STEP, len(source.lines))
        for line in range(source.taken, end):
            raw = source.lines.raw(line)
            stamp = time_of(raw)
            if stamp is not None:
                source.clock = stamp - source.ahead
                is_dated = True
            elif not is_dated:
                source.undated += 1
            new.append((source.clock - self._began, number << _LINE_BITS | line, level_of(raw)))
        source.taken = end

    def _insert(self, new: Iterable[_Entry]) -> None:
        """Into the order, which only what is later than the earliest of them has to be sorted for."""
        entries = sorted(new)
        if not entries:
            return
        first = bisect_right(self._times, entries[0][0])
        entries = [*zip(self._times[first:], self._where[first:], self._levels[first:], strict=True), *entries]
        entries.sort(key=_TIME)
        del self._times[first:], self._where[first:], self._levels[first:]
        self._add(entries)

    def _add(self, entries: Sequence[_Entry]) -> None:
        self._times.extend(map(_TIME, entries))
        self._where.extend(map(itemgetter(1), entries))
        self._levels.extend(map(itemgetter(2), entries))

    def _move(self, moved: Mapping[int, tuple[float, int]]) -> None:
        """All lines of these sources but the first few, so much earlier."""
        mask = (1 << _LINE_BITS) - 1
        entries = []
        for t, where, level in zip(self._times, self._where, self._levels, strict=True):
            earlier, undated = moved.get(where >> _LINE_BITS, (0.0, 0))
            entries.append((t - earlier if (where & mask) >= undated else t, where, level))
        entries.sort(key=_TIME)
        del self._times[:], self._where[:], self._levels[:]
        self._add(entries)
        self.rearranged += 1


class Filtered:
    """Those lines of a log that are wanted: of some sources, of some gravity, with some words. Brought up to date bit
    by bit by `grow`; a log that was rearranged behind it is gone through anew."""

    def __init__(
        self,
        log: MergedLog,
        *,
        sources: frozenset[str] = frozenset(),
        level: Level = Level.UNKNOWN,
        pattern: re.Pattern[str] | None = None,
    ) -> None:
        """No sources: all of them."""
        self.log = log
        self.sources = sources
        self.least = level
        self.pattern = pattern
        self._kept = array("L")
        self._seen = 0
        self._last: tuple[float, float] | None = None
        self._rearranged = log.rearranged

    @property
    def is_all(self) -> bool:
        return not self.sources and self.least is Level.UNKNOWN and self.pattern is None

    def grow(self, seconds: float) -> bool:
        """Look through what is new, for so long at most; whether there is more."""
        if self.is_all:
            return False
        give_up = time.monotonic() + seconds
        if self._rearranged != self.log.rearranged or (
            self._seen and (self._seen > len(self.log) or self._mark(self._seen - 1) != self._last)
        ):
            self._kept, self._seen, self._rearranged = array("L"), 0, self.log.rearranged
        while self._seen < len(self.log):
            end = min(self._seen + 500, len(self.log))
            self._kept.extend(index for index in range(self._seen, end) if self._wants(index))
            self._seen = end
            if time.monotonic() > give_up:
                break
        self._last = self._mark(self._seen - 1) if self._seen else None
        return self._seen < len(self.log)

    def __len__(self) -> int:
        return len(self.log) if self.is_all else len(self._kept)

    def index(self, number: int) -> int:
        """The place in the whole log of the line with this number."""
        return number if self.is_all else self._kept[number]

    def near(self, place: int) -> int | None:
        """The number of the last of them that is not after this place in the whole log, or of the first; None while
        there is none, or it was not looked so far."""
        if self.is_all:
            return place
        return max(0, bisect_right(self._kept, place) - 1) if self._kept and self._seen > place else None

    def until(self, t: float) -> int:
        """How many of them there were then."""
        place = self.log.until(t)
        return place if self.is_all else bisect_right(self._kept, place - 1)

    def _mark(self, index: int) -> tuple[float, float]:
        return self.log.time(index), float(self.log._where[index])

    def _wants(self, index: int) -> bool:
        log = self.log
        if self.sources and log.source(index) not in self.sources:
            return False
        if self.least and log.level(index) < self.least:
            return False
        return self.pattern is None or self.pattern.search(log.text(index)) is not None
