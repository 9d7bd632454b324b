"""Output that never holds up the run: a terminal stopped with Ctrl-S, or a pipe that nobody reads, would otherwise
block the event loop, and with it the load and its clocks."""

from __future__ import annotations

import queue
import threading
from typing import IO


class BackgroundWriter:
    """Writes text to a stream from a thread of its own. Close it to have everything written.

    A reader that goes away (`harness … | head`) ends the output, not the run."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._texts: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="output", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        self._texts.put(text)

    def close(self) -> None:
        """Wait until all of it is written. May be called twice."""
        self._texts.put(None)
        self._thread.join()

    def flush(self) -> None:
        """Files have it; here the thread does it after every text."""

    def isatty(self) -> bool:
        return self._stream.isatty()

    def _run(self) -> None:
        gone = False
        while (text := self._texts.get()) is not None:
            if gone:
                continue
            try:
                self._stream.write(text)
                self._stream.flush()
            except OSError:  # the pipe was closed, the terminal hung up
                gone = True
