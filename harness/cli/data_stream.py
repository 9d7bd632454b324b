"""Output of machines and nodes, on a stream of ours: as it is into a pipe, harmless on a terminal."""

from __future__ import annotations

from typing import TextIO

from harness.record.text import block, one_line
from harness.redact import redact

LONGEST_LINE = 64 * 1024
"""Bytes of a line after which it is written without waiting for its end."""


class DataStream:
    """Writes bytes by whole lines, each with `label` in front. Into a pipe or a file each byte goes as it came, with
    secrets redacted; on a terminal control characters, and what is no UTF-8, are shown as escapes."""

    def __init__(self, stream: TextIO, label: str = "") -> None:
        self._stream = stream
        self._label = f"{one_line(label)}: " if label else ""
        self._terminal = stream.isatty()
        self._rest = b""

    def write(self, data: bytes) -> None:
        data = self._rest + data
        end = data.rfind(b"\n") + 1
        if not end and len(data) > LONGEST_LINE:
            end = len(data)
        self._rest = data[end:]
        self._put(data[:end])

    def close(self) -> None:
        """Write a last line that has no end. Other lines may follow one with a label, or on a terminal: it gets one."""
        rest, self._rest = self._rest, b""
        self._put(rest + b"\n" if rest and (self._label or self._terminal) else rest)
        self._stream.flush()

    def _put(self, lines: bytes) -> None:
        if not lines:
            return
        if self._terminal:
            text = block(redact(lines.replace(b"\r\n", b"\n").decode(errors="backslashreplace")))
        else:
            text = redact(lines.decode(errors="surrogateescape"))
        if self._label:
            text = "".join(f"{self._label}{line}\n" for line in text.removesuffix("\n").split("\n"))
        self._stream.flush()  # what is text there comes before what are bytes
        self._stream.buffer.write(text.encode(errors="surrogateescape"))
        self._stream.buffer.flush()
