"""Blocks on disk: one file that is only ever appended to, and read again at restart.

A record is its length and CRC-32 (4 bytes each, big-endian), then the block's JSON. A record cut short by a kill is
recognised and cut off; it is fetched again from peers. Writes reach the kernel at once, so a killed process loses
nothing; they are not synced, so a machine that loses power may lose the last seconds, and catches up."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

_RECORD = struct.Struct(">II")


class StoreError(Exception):
    """The disk failed. Not an OSError: an event loop takes those for a peer's broken connection and goes on."""


class BlockStore(Protocol):
    """Where blocks are kept by hash."""

    def append(self, hash: str, data: bytes) -> None: ...

    def read(self, hash: str) -> bytes: ...


class MemoryStore:
    """Blocks in memory, for networks that live within one test."""

    def __init__(self) -> None:
        self._blocks: dict[str, bytes] = {}

    def append(self, hash: str, data: bytes) -> None:
        self._blocks[hash] = data

    def read(self, hash: str) -> bytes:
        """Raises KeyError."""
        return self._blocks[hash]


class FileStore:
    """Blocks in a file. Raises OSError when it cannot be opened or recovered."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._places: dict[str, int] = {}
        self._end = os.fstat(self._file).st_size

    def recover(self) -> Iterator[tuple[int, bytes]]:
        """(position, data) of each whole record from the file's beginning; a torn tail is cut off.

        Read it to its end before appending; `index` makes a record findable by hash."""
        position = 0
        while (data := self._record(position)) is not None:
            yield position, data
            position += _RECORD.size + len(data)
        if position < self._end:
            os.ftruncate(self._file, position)
            self._end = position

    def _record(self, position: int) -> bytes | None:
        head = os.pread(self._file, _RECORD.size, position)
        if len(head) < _RECORD.size:
            return None
        length, checksum = _RECORD.unpack(head)
        if length > self._end - position:
            return None
        data = os.pread(self._file, length, position + _RECORD.size)
        return data if len(data) == length and zlib.crc32(data) == checksum else None

    def index(self, hash: str, position: int) -> None:
        self._places[hash] = position

    def append(self, hash: str, data: bytes) -> None:
        """Raises StoreError."""
        record = _RECORD.pack(len(data), zlib.crc32(data)) + data
        written = 0
        try:
            while written < len(record):
                written += os.write(self._file, record[written:])
        except OSError as error:
            raise StoreError(f"cannot write block {hash}: {error}") from error
        self._places[hash] = self._end
        self._end += len(record)

    def read(self, hash: str) -> bytes:
        """Raises KeyError for a block that is not here, StoreError for one that is damaged."""
        data = self._record(self._places[hash])
        if data is None:
            raise StoreError(f"block {hash} is damaged on disk")
        return data

    def close(self) -> None:
        os.close(self._file)
