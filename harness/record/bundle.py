"""A run in one file, to be sent to somebody."""

from __future__ import annotations

import io
import itertools
import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from harness.record.rundir import RunDirectory

ABOUT = """Run {run}, as far as it had come when this was made.

journal.jsonl has every event of it. Secrets that the harness knew are redacted there, and in result.json and
run.toml. logs/ are what the nodes wrote themselves: nothing in them is redacted.
"""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A file that was written. `left_out`: what could not be read for it, and why."""

    path: Path
    left_out: tuple[str, ...] = ()


def bundle(directory: RunDirectory, into: Path) -> Bundle:
    """Write what is recorded of a run, and its nodes' logs, to a new file in this folder. Nothing is ever overwritten:
    a second one has a number. Raises OSError, also where nothing was recorded."""
    path, file = _create(into, directory.run_id)
    left_out: list[str] = []
    try:
        with file, tarfile.open(fileobj=file, mode="w:gz") as archive:
            found = 0
            for member in _members(directory):
                name = str(member.relative_to(directory.path))
                try:
                    source = _opened(member)
                except OSError as error:
                    left_out.append(f"{name}: {error.strerror}")
                    continue
                if source is not None:
                    found += 1
                    _add(archive, source, f"{directory.run_id}/{name}")
            if not found:
                raise OSError(f"nothing of it can be read: {left_out[0]}" if left_out else "nothing was recorded of it")
            about = ABOUT.format(run=directory.run_id)
            if left_out:
                about += "\nNot in here, as it could not be read:\n" + "".join(f"  {one}\n" for one in left_out)
            _text(archive, f"{directory.run_id}/README", about)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return Bundle(path, tuple(left_out))


def _create(into: Path, name: str) -> tuple[Path, BinaryIO]:
    for number in itertools.count(1):
        path = into / (f"{name}.tar.gz" if number == 1 else f"{name}-{number}.tar.gz")
        try:
            return path, path.open("xb")
        except FileExistsError:
            continue
    raise AssertionError


def _members(directory: RunDirectory) -> Iterator[Path]:
    yield from (directory.journal, directory.result, directory.junit, directory.run_toml, directory.report)
    yield directory.path / "controller.log"
    if directory.logs.is_dir() and not directory.logs.is_symlink():
        yield from sorted(directory.logs.iterdir())


def _opened(path: Path) -> BinaryIO | None:
    """None of what is not there, or is no file, a link for one. Raises OSError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError:
        if path.is_symlink():
            return None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    return os.fdopen(descriptor, "rb")


def _add(archive: tarfile.TarFile, file: BinaryIO, name: str) -> None:
    """As long as it is now: it may be written to."""
    with file:
        status = os.fstat(file.fileno())
        member = tarfile.TarInfo(name)
        member.size, member.mtime = status.st_size, int(status.st_mtime)
        archive.addfile(member, file)


def _text(archive: tarfile.TarFile, name: str, text: str) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(text.encode())
    archive.addfile(member, io.BytesIO(text.encode()))
