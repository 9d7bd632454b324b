"""The lines of a file that may be long and may grow: where each begins is remembered, what it says is read when it is
shown."""

from __future__ import annotations

import os
import time
from array import array
from pathlib import Path

from rich.text import Text

from harness.tui.look import cut
from harness.tui.stamps import time_of

BLOCK = 1 << 20
NEAR = 1 << 16
UNDATED = 500
"""Lines without a time that are looked at, one after the other, to find one with it."""
LONGEST = 4096
"""Bytes of a line that are shown at most."""


class FileLines:
    """A source of lines. Eight bytes a line are kept."""

    def __init__(self, path: Path) -> None:
        self.trouble = ""
        """Why it cannot be read, "" where it can, or is not there."""
        self._path = path
        self._file: int | None = None
        self._starts = array("Q", [0])
        self._end = 0
        self._near_start = 0
        self._near = b""  # what was read last: neighbours are often asked for

    @property
    def is_there(self) -> bool:
        """Whether the file was found; it may come later."""
        return self._file is not None

    def grow(self, seconds: float) -> bool:
        """Take in what was appended, for so long at most; whether there is more."""
        give_up = time.monotonic() + seconds
        while data := self._read(self._end, BLOCK):
            position = data.find(b"\n")
            while position >= 0:
                self._starts.append(self._end + position + 1)
                position = data.find(b"\n", position + 1)
            self._end += len(data)
            if time.monotonic() > give_up:
                return True
        return False

    def __len__(self) -> int:
        """A last line without an end counts."""
        return len(self._starts) - (self._starts[-1] == self._end)

    def raw(self, index: int) -> bytes:
        """A line as it is in the file, without its end."""
        start = self._starts[index]
        end = self._starts[index + 1] if index + 1 < len(self._starts) else self._end
        end = min(end, start + LONGEST)
        if not self._near_start <= start <= end <= self._near_start + len(self._near):
            self._near_start, self._near = start, self._read(start, max(end - start, NEAR))
        return self._near[start - self._near_start : end - self._near_start].rstrip(b"\r\n")

    def until(self, moment: float) -> int:
        """How many lines there were at this moment (Unix seconds, by the clock of whoever wrote them): those that tell
        no time have that of the line before them. Lines are taken to be in order."""
        first, end = 0, len(self)
        while first < end:
            middle = (first + end) // 2
            index, stamp = self._dated(middle, max(first, middle - UNDATED))
            if stamp is None or stamp <= moment:
                first = middle + 1
            else:
                end = index
        return first

    def _dated(self, index: int, first: int) -> tuple[int, float | None]:
        """The last line from `first` to this one that tells a time."""
        for one in range(index, first - 1, -1):
            stamp = time_of(self.raw(one))
            if stamp is not None:
                return one, stamp
        return first, None

    def heading(self, width: int) -> Text:
        return Text()

    def line(self, index: int, width: int) -> Text:
        return Text(cut(self.raw(index).decode(errors="replace").expandtabs(4), width), no_wrap=True)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _read(self, start: int, length: int) -> bytes:
        try:
            if self._file is None:
                self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            return os.pread(self._file, length, start)
        except FileNotFoundError:
            return b""
        except OSError as error:  # one log that may not be read must not take the others off the screen
            self.trouble = error.strerror or str(error)
            return b""
