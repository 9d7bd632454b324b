"""A run in one file, to be sent to somebody."""

from __future__ import annotations

import io
import itertools
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from harness.record.rundir import RunDirectory

ABOUT = """Run {run}, as far as it had come when this was made.

journal.jsonl has every event of it. Secrets that the harness knew are redacted there, and in result.json and
run.toml. logs/ are what the nodes wrote themselves: nothing in them is redacted.
"""


def bundle(directory: RunDirectory, into: Path) -> Path:
    """Write what is recorded of a run, and its nodes' logs, to a new file in this folder, and return its path. Nothing
    is ever overwritten: a second one has a number. Raises OSError, also where nothing was recorded."""
    path, file = _create(into, directory.run_id)
    try:
        with file, tarfile.open(fileobj=file, mode="w:gz") as archive:
            _text(archive, f"{directory.run_id}/README", ABOUT.format(run=directory.run_id))
            found = [
                _add(archive, member, f"{directory.run_id}/{member.relative_to(directory.path)}")
                for member in _members(directory)
            ]
            if not any(found):
                raise OSError("nothing was recorded of it")
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


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


def _add(archive: tarfile.TarFile, path: Path, name: str) -> bool:
    """As long as it is now: it may be written to. What is no file, a link for one, is left out. Whether it is in."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        if path.is_symlink():
            return False
        raise
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        return False
    with os.fdopen(descriptor, "rb") as file:
        member = tarfile.TarInfo(name)
        member.size, member.mtime = status.st_size, int(status.st_mtime)
        archive.addfile(member, file)
    return True


def _text(archive: tarfile.TarFile, name: str, text: str) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(text.encode())
    archive.addfile(member, io.BytesIO(text.encode()))
