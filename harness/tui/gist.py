"""The newest state of a long journal, without reading all of it: the lines that the state hangs on.

Most of a journal are lines that later ones make of no account: of a node's blocks and measurements the last ones count.
So lines of all other kinds are looked for from the beginning, which the regular expressions' engine does by itself, and
those last ones from the end back, until they are found."""

from __future__ import annotations

import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

from harness.record.codec import DecodeError, decode
from harness.record.events import Recorded

BLOCK = 1 << 20
RECENT = 256
"""How many of the newest heights, and of each workload's figures, are kept: for charts that look back a while."""
ENOUGH = RECENT + 64
"""Heights that are looked for: those that come first in the part that is read need not have been new when they came."""
LAST = 16
"""Lines at the end that are kept whatever they are."""
_OTHER = re.compile(
    rb'"kind":"(?!(?:block-observed|node-measured)","node":"[^"\\]*",|command-ran")(?:(workload-progress)|(node|feed)-ch)?'
)
"""Of lines that are kept. Such words may stand deeper in a line too, but not in a line of the others."""
_WORKLOAD = re.compile(rb'"kind":"workload-progress","workload":("(?:[^"\\]|\\.)*")')
_NODE = re.compile(rb'"kind":"(?:node|feed)-changed","node":("[^"\\]*")')
_WITH = {
    "blocks": rb'block-observed","node":(%b),"height":(\d+),',
    "measured": rb'node-measured","node":(%b),"peers":[^,"]+,"version":"([^"])?',
    "versions": rb'node-measured","node":(%b),"peers":[^,"]+,"version":"([^"])',
}

Line = tuple[int, bytes]


def _frequent(**names: bytes) -> re.Pattern[bytes]:
    """Lines of blocks (node, height), of measurements (node, the begin of its version where it tells one), and of
    measurements with a version, of nodes with these names."""
    lines = b"|".join(line % names.get(kind, b"(?!)") for kind, line in _WITH.items())
    return re.compile(rb'\n\{"seq":\d+,"at":[^,"]+,"t":[^,"]+,"kind":"(?:' + lines + b")")


def _any_of(names: Iterable[bytes]) -> bytes:
    return b"|".join(map(re.escape, sorted(names))) or b"(?!)"


_ANY = rb'"[^"\\]*"'
_FREQUENT = _frequent(blocks=_ANY, measured=_ANY)


class Gist:
    """Looks through a journal as it is when this is made. What it keeps reduces to the very state that the whole
    journal does: the last of a node's blocks and measurements, the newest heights, the last of a workload's figures,
    and every line of another kind but commands."""

    def __init__(self, path: Path) -> None:
        """Raises OSError, as `look` does, when the file cannot be read."""
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._until = os.fstat(self._file).st_size
        self.place = 0
        """Where what was not looked at yet begins."""
        self._step: Callable[[], bool] = self._forth
        self._buffer = bytearray(b"\n") + bytes(BLOCK)  # a line's end, and what was read
        self._back = 0  # where what was looked through from the end begins
        self._kept: list[Line] = []
        self._figures: dict[bytes, deque[Line]] = {}
        self._latency: dict[bytes, Line] = {}
        self._nodes: set[bytes] = set()
        self._heights: list[tuple[int, Line]] = []  # each greater than all before it
        self._blocks: dict[bytes, Line] = {}  # the last of each node
        self._measured: dict[bytes, Line] = {}
        self._versions: dict[bytes, Line] = {}  # the last measurements that tell one
        self._sought: tuple[re.Pattern[bytes], int] | None = None

    def look(self, seconds: float) -> bool:
        """Go on, for so long at most; whether there is more."""
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            if not self._step():
                self.close()
                return False
        return True

    def events(self) -> list[tuple[int, Recorded]]:
        """What is kept, in order, each with its place."""
        lines = {*self._kept, *self._latency.values(), *(line for _, line in self._heights[-RECENT:])}
        lines.update(*self._figures.values())
        lines.update(self._blocks.values(), self._measured.values(), self._versions.values())
        events = []
        for place, line in sorted(lines):
            try:
                recorded = decode(line)
            except DecodeError:
                continue
            if recorded is not None:
                events.append((place, recorded))
        return events

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _forth(self) -> bool:
        """The next block's lines that are kept. Whether there is more to be done."""
        end = self._read_after(self.place)
        if not end:
            self._back = self.place
            self._step = self._last
            return True
        before = -1
        for found in _OTHER.finditer(self._buffer, 0, end + 1):
            at = self._buffer.rfind(b"\n", 0, found.start())
            if at != before:
                before = at
                self._keep(found, self._line(at, self.place))
        self.place += end
        return True

    def _keep(self, found: re.Match[bytes], line: Line) -> None:
        is_figures, is_node = found.group(1, 2)
        if is_figures and (workload := _WORKLOAD.search(line[1])):
            self._figures.setdefault(workload[1], deque(maxlen=RECENT)).append(line)
            if b'"latency":{"' in line[1]:  # it holds until another is told
                self._latency[workload[1]] = line
            return
        if is_node and (node := _NODE.search(line[1])):
            self._nodes.add(node[1])
        self._kept.append(line)

    def _last(self) -> bool:
        """The last lines: a state's time is the last one's, whatever that was."""
        start, begin, end = self._read_before(self._back)
        at = end
        for _ in range(LAST):
            at = self._buffer.rfind(b"\n", begin, at)
            if at < 0:
                break
            self._kept.append(self._line(at, start))
        self._step = self._backwards
        return True

    def _backwards(self) -> bool:
        """The block before: what is not known from later ones. Whether there is more to be done."""
        pattern = self._missing()
        start, begin, end = self._read_before(self._back)
        if pattern is None or begin == end:
            return False
        heights: list[tuple[int, Line]] = []
        blocks: dict[bytes, re.Match[bytes]] = {}
        measured: dict[bytes, int] = {}
        versions: dict[bytes, int] = {}
        top = -1
        for found in pattern.finditer(self._buffer, begin, end + 1):
            node, height, one, version, other, _ = found.groups()
            if node is not None:
                blocks[node] = found
                if int(height) > top:
                    top = int(height)
                    heights.append((top, self._line(found.start(), start)))
            else:
                name = one or other
                if one:
                    measured[name] = found.start()
                if other or version:
                    versions[name] = found.start()
        for node in blocks.keys() - self._blocks.keys():
            self._blocks[node] = self._line(blocks[node].start(), start)
        for known, here in ((self._measured, measured), (self._versions, versions)):
            known.update({node: self._line(at, start) for node, at in here.items() if node not in known})
        new = [one for one in self._heights if one[0] > top]  # the others had been there before
        if pattern is not _FREQUENT and len(new) < ENOUGH:  # some had been there earlier: all of this block counts
            self._heights = new
            return True
        self._heights = [*heights, *new] if pattern is _FREQUENT else new
        self._back = start + begin
        return True

    def _missing(self) -> re.Pattern[bytes] | None:
        """Of the lines that are still to be found; None for none."""
        if len(self._heights) < ENOUGH:
            return _FREQUENT
        blocks, measured = self._nodes - self._blocks.keys(), self._nodes - self._measured.keys()
        versions = self._nodes - self._versions.keys() - measured
        count = len(blocks) + len(measured) + len(versions)
        if not count:
            return None
        if self._sought is None or count < self._sought[1]:
            pattern = _frequent(blocks=_any_of(blocks), measured=_any_of(measured), versions=_any_of(versions))
            self._sought = pattern, count
        return self._sought[0]

    def _read_after(self, place: int) -> int:
        """Whole lines from there on, a block of them or one line; how many bytes, none at the end."""
        while True:
            count = self._read(place, self._until)
            end = self._buffer.rfind(b"\n", 0, count + 1)
            if end > 0 or place + count == self._until:
                return end
            self._enlarge()

    def _read_before(self, place: int) -> tuple[int, int, int]:
        """Whole lines up to there, a block of them or one line: from which place on was read, and behind which bytes
        of the buffer they begin and end; the same at the beginning."""
        while True:
            start = max(0, place - len(self._buffer) + 1)
            count = self._read(start, place)
            begin = self._buffer.find(b"\n", 1, count + 1) if start else 0
            if begin < count or not start:
                return start, begin, count
            self._enlarge()

    def _read(self, place: int, end: int) -> int:
        """Into the buffer, behind its first byte; how many bytes."""
        size = min(len(self._buffer) - 1, end - place)
        return os.preadv(self._file, [memoryview(self._buffer)[1 : size + 1]], place)

    def _enlarge(self) -> None:
        self._buffer = bytearray(b"\n") + bytes(2 * len(self._buffer))

    def _line(self, at: int, start: int) -> Line:
        """The one that begins behind this byte of the buffer, and its place, where `start` is that of what was read."""
        return start + at, bytes(self._buffer[at + 1 : self._buffer.index(b"\n", at + 1) + 1])
