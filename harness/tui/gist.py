"""The newest state of a long journal, without reading all of it: the lines that the state hangs on."""

from __future__ import annotations

import re
import time
from collections import deque
from pathlib import Path

from harness.record.codec import DecodeError, decode
from harness.record.events import Recorded

BLOCK = 1 << 20
RECENT = 256
"""How many of the newest heights, and of each workload's figures, are kept: for charts that look back a while."""
_LINE = re.compile(
    rb'\n(?:\{"seq":\d+,"at":[^,"]+,"t":[^,"]+,"kind":"'
    rb'(?:block-observed","node":("[^"]*"),"height":(\d+),'
    rb'|(node-measured","node":"[^"]*"),"peers":[^,"]+,"version":"[^"]'
    rb'|workload-progress","workload":("[^"]*")))?'
)
"""Every beginning of a line, and for those that make lines before them of no account: of which node or workload they
are. Names with escapes in them are no match, so that their lines are all kept."""

Line = tuple[int, bytes]


class Gist:
    """Looks through a journal as it is when this is made. What it keeps reduces to the very state that the whole
    journal does: the last of a node's blocks and measurements, the newest heights, the last of a workload's figures,
    and every line of another kind."""

    def __init__(self, path: Path) -> None:
        """Raises OSError, as `look` does, when the file cannot be read."""
        self._file = path.open("rb")
        self._until = path.stat().st_size
        self.place = 0
        """Where what was not looked at yet begins."""
        self._rest = b"\n"
        self._kept: list[Line] = []
        self._last: dict[bytes, Line] = {}
        self._heights: deque[Line] = deque(maxlen=RECENT)
        self._figures: dict[bytes, deque[Line]] = {}
        self._top = -1

    def look(self, seconds: float) -> bool:
        """Go on, for so long at most; whether there is more."""
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            data = self._file.read(min(BLOCK, self._until - self.place - len(self._rest) + 1))
            if not data:
                self._file.close()
                return False
            data = self._rest + data
            end = data.rfind(b"\n")
            self._sift(data[: end + 1])
            self.place += end
            self._rest = data[end:]
        return True

    @property
    def share(self) -> float:
        """How much was looked at."""
        return self.place / self._until if self._until else 1.0

    def events(self) -> list[tuple[int, Recorded]]:
        """What is kept, in order, each with its place."""
        lines = {*self._kept, *self._last.values(), *self._heights}
        lines.update(*self._figures.values())
        found = []
        for place, line in sorted(lines):
            try:
                recorded = decode(line)
            except DecodeError:
                continue
            if recorded is not None:
                found.append((place, recorded))
        return found

    def close(self) -> None:
        self._file.close()

    def _sift(self, data: bytes) -> None:
        """`data` begins with the end of the line before, and ends with the last line's own."""
        last: dict[bytes, int] = {}
        for found in _LINE.finditer(data, 0, len(data) - 1):
            node, height, measured, workload = found.groups()
            if node is not None:
                last[node] = found.start()
                if int(height) > self._top:
                    self._top = int(height)
                    self._heights.append(self._line(data, found.start()))
            elif measured is not None:
                last[measured] = found.start()
            elif workload is not None:
                figures = self._figures.setdefault(workload, deque(maxlen=RECENT))
                line = self._line(data, found.start())
                figures.append(line)
                if b'"latency":{"' in line[1]:  # it holds until another is told
                    self._last[b"workload " + workload] = line
            else:
                self._kept.append(self._line(data, found.start()))
        for name, start in last.items():
            self._last[name] = self._line(data, start)

    def _line(self, data: bytes, start: int) -> Line:
        return self.place + start, data[start + 1 : data.index(b"\n", start + 1) + 1]
