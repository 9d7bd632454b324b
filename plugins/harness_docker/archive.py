"""Files as the engine takes and gives them: tar archives, made and read as streams, never as a whole in memory."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from harness_docker.engine import Interrupt

CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, or with no content a folder, in an archive. `owner` is its uid and gid."""

    path: PurePosixPath
    content: bytes | Path | None
    mode: int
    owner: tuple[int, int] = (0, 0)


class Stopped(OSError):
    """Whoever wanted the archive wants it no more."""


def pack(entries: Iterable[Entry], interrupt: Interrupt | None = None) -> Iterator[bytes]:
    """A tar archive in chunks, deterministic: the same entries give the same bytes. A file that grows or shrinks
    meanwhile raises OSError: what was announced must come."""
    for entry in entries:
        info = tarfile.TarInfo(str(entry.path).lstrip("/"))
        info.mode = entry.mode
        info.uid, info.gid = entry.owner
        match entry.content:
            case None:
                info.type = tarfile.DIRTYPE
                yield _header(info)
            case bytes():
                info.size = len(entry.content)
                yield _header(info)
                yield entry.content
            case Path():
                with entry.content.open("rb") as file:
                    info.size = os.fstat(file.fileno()).st_size
                    yield _header(info)
                    yield from _exactly(file, info.size, interrupt)
        yield bytes(-info.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _header(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _exactly(file: IO[bytes], size: int, interrupt: Interrupt | None) -> Iterator[bytes]:
    left = size
    while left:
        if interrupt is not None and interrupt.stopped:
            raise Stopped("interrupted")
        chunk = file.read(min(CHUNK, left))
        if not chunk:
            raise OSError(f"{file.name} became shorter while it was read")
        left -= len(chunk)
        yield chunk


class _Chunks(io.RawIOBase):
    """Chunks as a file to read from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            if (chunk := next(self._chunks, None)) is None:
                return 0
            self._rest = memoryview(chunk)
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def unpack_one(archive: Iterator[bytes], path: PurePosixPath, sink: IO[bytes]) -> None:
    """Write the one file of an archive into `sink`. Raises IsADirectoryError for a folder, OSError for what else is no
    file."""
    chunks = io.BufferedReader(_Chunks(archive), CHUNK)
    with tarfile.open(fileobj=chunks, mode="r|") as members:
        member = members.next()
        if member is not None and member.isdir():
            raise IsADirectoryError(f"{path} is a folder")
        content = members.extractfile(member) if member is not None and member.isfile() else None
        if content is None:
            raise OSError(f"{path} is no file")
        shutil.copyfileobj(content, sink, CHUNK)


def write_atomically(path: Path, write: Callable[[IO[bytes]], object], mode: int = 0o644) -> None:
    """Have `write` fill a file beside `path`, then take its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".put-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            os.fchmod(file.fileno(), mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
