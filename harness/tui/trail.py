"""One node over time, as the journal tells: read for whoever looks at that node, and for nobody else."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from harness.record.codec import DecodeError, decode
from harness.record.events import BlockObserved, FeedChanged, NodeChanged, NodeMeasured, Recorded
from harness.tui.history import Track

BLOCK = 1 << 20


class Trail:
    """`intervals` are seconds from one block's coming there to the next one's, at the moment of the latter; `cpu` in
    cores and `memory` in bytes as they were measured; `changes` of its state and of the feed's connection with it."""

    def __init__(self, journal: Path, node: str) -> None:
        self.node = node
        self.heights = Track()
        self.intervals = Track()
        self.cpu = Track()
        self.memory = Track()
        self.changes: list[Recorded] = []
        self._top: tuple[int, float] | None = None  # the greatest height so far, and when it came
        self._path = journal
        self._file: BinaryIO | None = None
        self._rest = b""
        self._needle = f'"node":{json.dumps(node)}'.encode("ascii")  # as the journal's own encoder writes it

    def grow(self, seconds: float) -> bool:
        """Read on, for so long at most; whether there is more. Raises OSError."""
        give_up = time.monotonic() + seconds
        while data := self._read():
            for line in self._lines_in(data):
                self._take(line)
            if time.monotonic() > give_up:
                return True
        return False

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read(self) -> bytes:
        """What is new: whole lines. One that is still being written comes another time."""
        if self._file is None:
            try:
                self._file = self._path.open("rb")
            except FileNotFoundError:
                return b""
        end = 0
        while not end and (more := self._file.read(BLOCK)):
            self._rest += more
            end = self._rest.rfind(b"\n") + 1
        data, self._rest = self._rest[:end], self._rest[end:]
        return data

    def _lines_in(self, data: bytes) -> Iterator[bytes]:
        """Those that name the node. Most lines of a journal are of other nodes: they are passed over unread."""
        place = data.find(self._needle)
        while place >= 0:
            end = data.index(b"\n", place)
            yield data[data.rfind(b"\n", 0, place) + 1 : end + 1]
            place = data.find(self._needle, end)

    def _take(self, line: bytes) -> None:
        try:
            recorded = decode(line)
        except DecodeError:
            return
        if recorded is None or getattr(recorded.event, "node", None) != self.node:
            return
        t = recorded.t
        match recorded.event:
            case BlockObserved(height=height):
                if self._top is not None and height > self._top[0]:
                    self.intervals.add(t, t - self._top[1])
                if self._top is None or height > self._top[0]:
                    self._top = height, t
                self.heights.add(t, height)
            case NodeMeasured(cpu=cpu, memory=memory):
                if cpu is not None:
                    self.cpu.add(t, cpu)
                if memory is not None:
                    self.memory.add(t, memory)
            case NodeChanged() | FeedChanged():
                self.changes.append(recorded)
