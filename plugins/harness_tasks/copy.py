"""The task `copy`: files and folders of the controller, or a text, on a machine."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import anyio.to_thread
from pydantic import Field, model_validator

from harness.api import Config, InfrastructureError, LocalPath, Machine, Task, TaskContext, TaskResult
from harness_tasks.options import Mode, Owner, RemotePath, mode_number
from harness_tasks.placing import Wanted, place

_CHUNK = 1024 * 1024


class CopyConfig(Config):
    """Write `src` or `content`."""

    src: LocalPath | None = Field(None, description="file or folder here, relative to the playbook")
    content: str | None = Field(None, description="what is to be in the file, instead of src")
    dest: RemotePath = Field(description="where on the machine; with / at its end, the folder that a file goes into")
    mode: Mode | None = Field(None, description='like "0644", of files; without, as described')
    owner: Owner | None = Field(None, description='"user" or "user:group"; without, that of the file that is there')

    @model_validator(mode="after")
    def _one_source(self) -> CopyConfig:
        if (self.src is None) == (self.content is None):
            raise ValueError("write one of src and content")
        if self.content is not None and self.dest.endswith("/"):
            raise ValueError(f"dest is a folder ({self.dest}); content needs the name of a file")
        return self


@dataclass(frozen=True, slots=True)
class Sources:
    """What is to be copied: files, and folders that have to be there though nothing may be in them."""

    files: tuple[Wanted, ...]
    folders: tuple[str, ...] = ()


class Copy(Task[CopyConfig]):
    """Has a file, all files of a folder, or a text on the machine, sent only where they differ (by SHA-256).

    A file is replaced as a whole, never half-written; a link in its place is replaced too. Folders above it are made.
    Of a folder, its content comes to be in `dest`; what else is there stays. Without `mode` and `owner` a file that is
    replaced keeps those that it has, and a new one gets 0644, or 0755 where the source can be executed."""

    name = "copy"
    Config = CopyConfig

    def __init__(self, config: CopyConfig) -> None:
        super().__init__(config)
        self._sources: Sources | None = None
        self._reading = threading.Lock()

    def problems(self, ctx: TaskContext) -> Sequence[str]:
        src = self.config.src
        try:
            refused = [f"{path} is {why}" for path, why in _refused(src)] if src is not None else []
        except OSError as error:
            return (f"{error.filename} cannot be read: {error.strerror}",)
        return refused[:1]

    async def apply(self, machine: Machine, ctx: TaskContext) -> TaskResult:
        return await self._place(machine, ctx, check=False)

    async def check(self, machine: Machine, ctx: TaskContext) -> TaskResult:
        return await self._place(machine, ctx, check=True)

    async def _place(self, machine: Machine, ctx: TaskContext, *, check: bool) -> TaskResult:
        sources = await anyio.to_thread.run_sync(self._read)
        return await place(machine, ctx, sources.files, sources.folders, check=check)

    def _read(self) -> Sources:
        """Look at the sources once, for all machines: they all get the same."""
        with self._reading:
            if self._sources is None:
                try:
                    self._sources = _sources(self.config)
                except OSError as error:
                    raise InfrastructureError(f"{error.filename} cannot be read: {error.strerror}") from None
            return self._sources


def _sources(config: CopyConfig) -> Sources:
    mode, owner, dest = mode_number(config.mode), config.owner or "", PurePosixPath(config.dest)
    if config.src is None:
        assert config.content is not None
        return Sources((Wanted.of(str(dest), config.content.encode(), mode, owner),))
    if not config.src.is_dir():
        into = dest / config.src.name if config.dest.endswith("/") else dest
        return Sources((_wanted(config.src, into, mode, owner),))
    files, folders = [], []
    for path, inside in _walk(config.src):
        if path.is_dir():
            folders.append(str(dest / inside))
        else:
            files.append(_wanted(path, dest / inside, mode, owner))
    return Sources(tuple(files), tuple(folders))


def _walk(folder: Path) -> Iterator[tuple[Path, PurePosixPath]]:
    """The folder, and all in it, with the path in it: in the same order each time."""
    for here, folders, files in os.walk(folder, onerror=_raise):
        folders.sort()
        inside = PurePosixPath(Path(here).relative_to(folder))
        yield Path(here), inside
        for name in sorted(files):
            yield Path(here, name), inside / name


def _raise(error: OSError) -> None:
    raise error


def _refused(src: Path) -> Iterator[tuple[Path, str]]:
    """What of the sources is no plain file, and cannot be copied as one."""
    if not src.is_dir():
        if not src.is_file():
            yield src, "neither a file nor a folder"
        return
    for here, folders, files in os.walk(src, onerror=_raise):
        for name in folders:
            if Path(here, name).is_symlink():
                yield Path(here, name), "a link to a folder, which is not followed"
        for name in files:
            if not Path(here, name).is_file():
                yield Path(here, name), "neither a file nor a folder"


def _wanted(path: Path, dest: PurePosixPath, mode: int | None, owner: str) -> Wanted:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        is_program = bool(os.fstat(file.fileno()).st_mode & stat.S_IXUSR)
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return Wanted(str(dest), path, digest.hexdigest(), size, mode, 0o755 if is_program else 0o644, owner)
