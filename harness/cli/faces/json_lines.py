"""`--output json`: the journal itself on stdout, byte for byte, and nothing else."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import BinaryIO

from harness.record.events import Recorded

_CHUNK = 1 << 16


class JsonLinesFace:
    """Copies a journal to a stream as it grows. Subscribe it to that journal; close it after the journal's end.

    A thread reads the file, so a reader that is slow costs no memory and does not hold up the run. A reader that
    goes away ends the output, not the run."""

    def __init__(self, journal: Path, stream: BinaryIO) -> None:
        """`journal` must exist. Raises OSError when it cannot be read."""
        self._source = journal.open("rb", buffering=0)
        self._stream = stream
        self._grown = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._copy, name="json", daemon=True)
        self._thread.start()

    def __call__(self, recorded: Recorded) -> None:
        self._grown.set()

    def close(self) -> None:
        """Wait until everything in the journal is written. May be called twice."""
        self._ended = True
        self._grown.set()
        self._thread.join()

    def _copy(self) -> None:
        with self._source:
            try:
                while True:
                    ended = self._ended  # looked at first: what was written before the end is still read
                    while chunk := self._source.read(_CHUNK):
                        self._stream.write(chunk)
                    self._stream.flush()
                    if ended:
                        return
                    self._grown.wait()
                    self._grown.clear()
            except OSError:  # the pipe was closed, the terminal hung up
                return
