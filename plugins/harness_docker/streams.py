"""What a container writes, as the engine passes it on, and the log that is kept of it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

STDOUT, STDERR = 1, 2
HEADER = 8


class Hijacked:
    """A connection that the engine has turned into a stream of frames: one byte stream number, three zeros, four bytes
    length, the data (Engine API, "Attach to a container").

    Read through the buffer that read the response's headers: it may hold the first frames already."""

    def __init__(self, raw: Any) -> None:
        """`raw` is what the SDK returns for `socket=True`."""
        self.response = raw._response
        self._reader = self.response.raw._fp.fp
        self._socket: socket.socket = getattr(raw, "_sock", raw)
        self._socket.settimeout(None)

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """(stream, data) until the stream ends, or is cut."""
        with contextlib.suppress(ConnectionError):
            while len(header := self._reader.read(HEADER)) == HEADER:
                size = int.from_bytes(header[4:], "big")
                data = self._reader.read(size)
                yield header[0], data
                if len(data) < size:
                    return

    def write_all(self, data: bytes) -> None:
        """Send it all as the input, then end that. Whoever has ended meanwhile need not read it."""
        with contextlib.suppress(OSError):
            self._socket.sendall(data)
            self._socket.shutdown(socket.SHUT_WR)

    def write(self, data: bytes) -> None:
        """Send it all as more of the input. Raises OSError."""
        self._socket.sendall(data)

    def cut(self) -> None:
        """End it, so that nobody waits for it any more."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.response.close()
        self._reader.close()
        self._socket.close()  # urllib3 does not know that it is still open


class MarkerFilter:
    """Takes markers that are expected out of a stream of bytes, however the stream is cut into chunks."""

    def __init__(self) -> None:
        self._expected: list[bytes] = []
        self._held = b""

    def expect(self, marker: bytes) -> None:
        self._expected.append(marker)

    def feed(self, data: bytes) -> tuple[bytes, list[bytes]]:
        """What of it is no marker, and the markers that have come. The beginning of what may become one is held."""
        data = self._held + data
        clean, found = b"", []
        while hits := [(at, marker) for marker in self._expected if (at := data.find(marker)) >= 0]:
            at, marker = min(hits)
            self._expected.remove(marker)
            found.append(marker)
            clean, data = clean + data[:at], data[at + len(marker) :]
        keep = max((_overlap(data, marker) for marker in self._expected), default=0)
        self._held = data[len(data) - keep :]
        return clean + data[: len(data) - keep], found

    def rest(self) -> bytes:
        """What was held, at the end of the stream."""
        held, self._held = self._held, b""
        return held


def _overlap(data: bytes, marker: bytes) -> int:
    """The length of the longest end of `data` that `marker` begins with."""
    return next((size for size in range(min(len(data), len(marker) - 1), 0, -1) if data.endswith(marker[:size])), 0)


class Log:
    """A service's log on the controller: stdout and stderr, appended as they come, less the markers."""

    HEAD = 1024
    """Bytes of the beginning that are remembered: what an init says that could not start its program."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        self._lock = threading.Lock()
        self._filters = {STDOUT: MarkerFilter(), STDERR: MarkerFilter()}
        self._waiting: dict[bytes, tuple[int, Callable[[], object]]] = {}
        self.head = b""
        self.error = ""
        """Why it is not complete: the disk is full."""

    def expect(self, marker: bytes, seen: Callable[[], object]) -> None:
        """Have `seen` called, from whatever thread, when the marker has come in both streams: all that was written
        before it is in the file then."""
        with self._lock:
            self._waiting[marker] = (len(self._filters), seen)
            for each in self._filters.values():
                each.expect(marker)

    def write(self, stream: int, data: bytes) -> None:
        with self._lock:
            clean, found = self._filters[stream].feed(data) if stream in self._filters else (data, [])
            self._append(clean)
            for marker in found:
                missing, seen = self._waiting.pop(marker)
                if missing > 1:
                    self._waiting[marker] = (missing - 1, seen)
                else:
                    seen()

    def close(self) -> None:
        with self._lock:
            for each in self._filters.values():
                self._append(each.rest())
            self._file.close()

    def _append(self, data: bytes) -> None:
        self.head += data[: self.HEAD - len(self.head)]
        try:
            while data and not self.error:
                data = data[self._file.write(data) :]
        except OSError as error:  # the node must not stand still because its log does: read on
            self.error = f"its log cannot be written: {error}"
