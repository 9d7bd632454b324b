"""Frames: what a controller and an agent say to each other, in either direction.

    u32 length of the header | u32 length of the body | header, JSON | body, bytes        (big endian)

    {"id": 1, "do": "run", …}                     a request
    {"id": 1, …}  {"id": 1, "error": "…", "kind"} its answer
    {"id": 1, "part": "stdout"}                   comes before the answer, with a body that belongs to it
    {"event": "exit", …}                          what happened, unasked

An agent begins with MAGIC: whatever a login shell says before it is skipped. Texts that are not UTF-8 (file names)
travel as Python's surrogate escapes, which JSON can hold."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Dict, Tuple

from .notation import dumps, loads

MAGIC = b"\0harness-agent\1\n"
LONGEST = 64 * 1024 * 1024
"""Bytes of a header or a body: more is a broken stream, not a frame."""
CHUNK = 256 * 1024
"""Bytes of a body where the sender may choose."""

_LENGTHS = struct.Struct(">II")

Header = Dict[str, Any]
Frame = Tuple[Header, bytes]


class BrokenStream(ValueError):
    """What came is no frame."""


def encode(header: Header, body: bytes = b"") -> bytes:
    head = dumps(header).encode()
    if len(head) > LONGEST or len(body) > LONGEST:
        raise ValueError(f"a frame of {max(len(head), len(body))} bytes is too long")
    return _LENGTHS.pack(len(head), len(body)) + head + body


class Decoder:
    """Bytes in as they come, whole frames out."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Add data; yields the frames that are complete. Raises BrokenStream."""
        self._buffer += data
        while len(self._buffer) >= _LENGTHS.size:
            head, body = _LENGTHS.unpack_from(self._buffer)
            if head > LONGEST or body > LONGEST:
                raise BrokenStream(f"a frame of {max(head, body)} bytes is announced")
            end = _LENGTHS.size + head + body
            if len(self._buffer) < end:
                return
            header = loads(self._buffer[_LENGTHS.size : _LENGTHS.size + head].decode())
            content = bytes(self._buffer[_LENGTHS.size + head : end])
            del self._buffer[:end]
            yield header, content

    def rest(self) -> bytes:
        """What has come of the next frame; it is forgotten here."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest
