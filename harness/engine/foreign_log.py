"""Logs of processes that somebody else runs, from the moment of attaching on: pulled piece by piece, so that there is a
moment after which all that had been written is here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import anyio
import anyio.to_thread

from harness.errors import InfrastructureError
from harness.plugin.contract.machine import Completed, Machine

PULL_WITHIN = 60.0  # seconds
_CURSOR = b"-- cursor: "
_ENV = {"LC_ALL": "C"}


class ForeignLog(ABC):
    """`begin`, then `pull` again and again; both raise InfrastructureError. What is pulled is appended to `to`."""

    def __init__(self, machine: Machine, to: Path) -> None:
        self._machine = machine
        self._to = to
        self._pulling = anyio.Lock()
        self._lost = ""  # what of it was not seen, and never will be

    async def begin(self) -> None:
        """What is there now is history."""
        await anyio.to_thread.run_sync(_append, self._to, b"")
        await self._mark()

    async def pull(self, *, all_of_it: bool = False) -> None:
        """Fetch what has come since the last time; `all_of_it`: also what is still on its way to the log, and raise if
        some of it was lost."""
        async with self._pulling:
            if piece := await self._next(all_of_it):
                await anyio.to_thread.run_sync(_append, self._to, piece)
            if all_of_it and self._lost:
                raise InfrastructureError(f"{self._machine.name}: {self._lost}")

    @abstractmethod
    async def _mark(self) -> None: ...

    @abstractmethod
    async def _next(self, all_of_it: bool) -> bytes: ...

    async def _run(self, argv: Sequence[str], fine: Sequence[int] = (0,)) -> Completed:
        done = await self._machine.run(argv, env=_ENV, become=True, timeout=PULL_WITHIN)
        if done.returncode not in fine or (done.returncode and done.stderr.strip()):
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise InfrastructureError(f"{self._machine.name}: {argv[0]}: {said[-1] if said else done.returncode}")
        return done


class JournalLog(ForeignLog):
    """What a unit's processes, and systemd about them, have written to systemd's journal; the messages alone."""

    def __init__(self, machine: Machine, unit: str, to: Path) -> None:
        super().__init__(machine, to)
        # --all: text that is not UTF-8, or long, is not left out
        self._argv = ("journalctl", "--no-pager", "--all", "--output=cat", "--show-cursor", f"--unit={unit}")
        self._cursor = ""

    async def _mark(self) -> None:
        await self._read("--lines=1")

    async def _next(self, all_of_it: bool) -> bytes:
        if all_of_it:
            await self._run(("journalctl", "--sync"))
        return await self._read(*([f"--after-cursor={self._cursor}"] if self._cursor else []))

    async def _read(self, *options: str) -> bytes:
        """Without a cursor there was nothing in the journal when we came: all of it is new. A unit without any entry
        is what status 1 says, with no complaint."""
        output = (await self._run((*self._argv, *options), fine=(0, 1))).stdout
        messages, newline, last = output.rstrip(b"\n").rpartition(b"\n")
        if not last.startswith(_CURSOR):
            return output
        self._cursor = last.removeprefix(_CURSOR).decode().strip()
        return messages + newline


class FileLog(ForeignLog):
    """A log file. One that was rotated is read from its beginning: what the old one had last is lost."""

    def __init__(self, machine: Machine, path: str, to: Path) -> None:
        super().__init__(machine, to)
        self._path = path
        self._inode, self._offset = "", 0

    async def _mark(self) -> None:
        self._inode, self._offset = await self._stat()

    async def _next(self, all_of_it: bool) -> bytes:
        inode, size = await self._stat()
        if inode != self._inode or size < self._offset:
            self._lost = f"{self._path} was rotated or cut: what it held last was not seen"
            self._inode, self._offset = inode, 0
        done = await self._run(("tail", f"--bytes=+{self._offset + 1}", "--", self._path))
        self._offset += len(done.stdout)
        return done.stdout

    async def _stat(self) -> tuple[str, int]:
        done = await self._run(("stat", "--dereference", "--format=%i %s", "--", self._path))
        inode, size = done.stdout.decode().split()
        return inode, int(size)


def _append(path: Path, piece: bytes) -> None:
    with path.open("ab") as file:
        file.write(piece)
