"""Standard streams: there may be none, their readers may go away, disks fill up, and plugins print."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from harness.redact import redact


class ForgivingFile(io.RawIOBase):
    """A file that takes everything. `lost` is why something could not be written, "" while nothing was lost, or only
    because its reader has gone away: the result of a run must not depend on who reads about it. `gone`: nothing that
    is written arrives any more."""

    def __init__(self, descriptor: int) -> None:
        self.lost = ""
        self._descriptor = descriptor
        self.gone = False

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if not self.gone:
            try:
                return os.write(self._descriptor, data)
            except OSError as error:
                self.gone = True
                self.lost = "" if isinstance(error, BrokenPipeError) else str(error)
        return memoryview(data).nbytes


class Output(io.TextIOWrapper):
    """Text on a ForgivingFile; `file` is that one. Secrets are redacted in it."""

    def __init__(self, file: ForgivingFile) -> None:
        self.file = file
        super().__init__(io.BufferedWriter(file), encoding="utf-8", errors="replace", write_through=False)

    def write(self, text: str) -> int:
        super().write(redact(text))
        return len(text)


def make_safe() -> None:
    """Have stdout and stderr that never fail, also where the process was started without (`>&-`)."""
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:
            with suppress(OSError):  # the number is free: the lowest one that is gets it, or is moved there
                nowhere = os.open(os.devnull, os.O_WRONLY)
                if nowhere != number:
                    os.dup2(nowhere, number)
                    os.close(nowhere)
        else:
            stream.flush()
        setattr(sys, name, Output(ForgivingFile(number)))


def lost_output() -> str:
    """Why something that was written to stdout is not there, "" when it all is."""
    sys.stdout.flush()
    return sys.stdout.file.lost if isinstance(sys.stdout, Output) else ""


def is_read(stream: object) -> bool:
    """Whether there still is somebody to write for: for commands that go on for as long as they are watched."""
    return not (isinstance(stream, Output) and stream.file.gone)


@contextmanager
def own_stdout() -> Iterator[Output]:
    """stdout for us alone: whatever plugins, or what they start, print goes to stderr meanwhile."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    output = Output(ForgivingFile(kept))
    try:
        yield output
    finally:
        output.flush()
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
        if output.file.lost and isinstance(sys.stdout, Output):
            sys.stdout.file.lost = output.file.lost
