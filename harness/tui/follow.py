"""A journal as it grows: what was appended since the last look."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from harness.record.codec import DecodeError, decode
from harness.record.events import Recorded
from harness.record.regular import open_regular

BLOCK = 1 << 18
"""Bytes that are read at once."""


class Follower:
    """Reads a journal from its beginning, or the place where a line begins, a piece at a time. `skipped` counts the
    lines that could not be read."""

    def __init__(self, path: Path, place: int = 0) -> None:
        """The file may come later. Raises OSError, as `read` does, when it is there and cannot be read."""
        self._path = path
        self._file: BinaryIO | None = None
        self._rest = b""
        self._offset = place  # where the rest begins
        self.skipped = 0

    def read(self) -> list[tuple[int, Recorded]]:
        """Events that were not told before, up to a block of them, each with the place where its line begins. A line
        that is still being written comes another time."""
        if self._file is None:
            try:
                self._file = open_regular(self._path)
            except FileNotFoundError:
                return []
            self._file.seek(self._offset)
        data = self._rest + self._file.read(BLOCK)
        end = data.rfind(b"\n") + 1
        place, self._rest, self._offset = self._offset, data[end:], self._offset + end
        events = []
        for line in data[:end].splitlines(keepends=True):
            try:
                recorded = decode(line)
            except DecodeError:
                self.skipped += 1
                recorded = None
            if recorded is not None:
                events.append((place, recorded))
            place += len(line)
        return events

    @property
    def place(self) -> int:
        """Where what was not told yet begins."""
        return self._offset

    @property
    def behind(self) -> int:
        """Bytes that are there and were not read yet."""
        try:
            return max(0, self._path.stat().st_size - self._offset - len(self._rest))
        except FileNotFoundError:
            return 0

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def read_from(path: Path, place: int, until: float) -> Iterator[tuple[int, Recorded]]:
    """The events from this place on, as long as they are not after `until` (seconds since the run began), each with
    the place after it."""
    with open_regular(path) as file:
        file.seek(place)
        for line in file:
            place += len(line)
            try:
                recorded = decode(line)
            except DecodeError:
                continue
            if recorded is None:
                continue
            if recorded.t > until:
                return
            yield place, recorded
