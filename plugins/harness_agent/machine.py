"""A machine with an agent on it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import anyio
import anyio.to_thread

from harness.api import (
    CommandRecord,
    CommandTimeout,
    Completed,
    Facts,
    InfrastructureError,
    Machine,
    MachineCapability,
    ServiceSpec,
)
from harness_agent.client import AgentClient
from harness_agent.link import Refusal
from harness_agent.service import AgentService
from harness_agent.values import Limits, Undo
from harness_agent.wire import Answer

PIECE = 1024 * 1024
"""Bytes of a file in one frame."""
IN_FLIGHT = 4
"""Pieces of a file on their way at once: enough to fill a link with some delay."""
DROP_WITHIN = 5.0
"""Seconds for a machine to forget the beginning of a file; one that cannot be reached does when the run ends."""


class AgentMachine(Machine):
    """What its agent can reach. Where the controller has the same files (`shared_files`), logs are written in place."""

    capabilities = frozenset({MachineCapability.NODE_CONTROL, MachineCapability.PAUSE, MachineCapability.COMMANDS})

    def __init__(
        self,
        client: AgentClient,
        *,
        name: str = "",
        folder: PurePosixPath | None = None,
        state: str = "",
        shared_files: bool = False,
    ) -> None:
        """`folder` is where commands run that nobody gave one: else the login user's home. `state` is where runs keep,
        or would keep, what they have there, the same folder without: the free disk of `facts` is there."""
        self.name = name or client.name
        self.python = client.hello.python or "python3"
        self.client = client
        self._audit = client.audit
        self._folder = str(folder) if folder is not None else str(client.folder)
        self._state = state or self._folder
        self._shared_files = shared_files

    async def run(
        self,
        argv: Sequence[str],
        *,
        input: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: PurePosixPath | None = None,
        timeout: float = 60.0,
        become: bool = False,
    ) -> Completed:
        """See Machine.run. When it ends, or is cancelled, the processes that it started end too."""
        began = time.monotonic()
        status: int | None = None
        error = "cancelled"
        try:
            done = await self._run(argv, input, dict(env or {}), str(cwd or self._folder), timeout, become)
            status, error = done.returncode, ""
            return done
        except InfrastructureError as raised:
            error = str(raised)
            raise
        finally:
            user = "root" if become else ""
            self._audit(CommandRecord(self.name, tuple(argv), status, time.monotonic() - began, user, error))

    async def _run(
        self, argv: Sequence[str], input: bytes, env: dict[str, str], cwd: str, timeout: float, become: bool
    ) -> Completed:
        try:
            answer = await self.client.request(
                "run",
                input,
                repeatable=False,
                cancel=True,
                within=timeout,
                argv=list(argv),
                env=env,
                cwd=cwd,
                timeout=timeout,
                become=become,
            )
        except Refusal as refusal:
            if refusal.kind == "timeout":
                text = f"{self.name}: {argv[0]} took more than {timeout:g} s and was killed"
                raise CommandTimeout(text, *_outputs(refusal.parts)) from None
            name = argv[0] if argv else "an empty command"
            raise InfrastructureError(f"{self.name}: {name} cannot be run: {refusal}") from refusal
        stdout, stderr = _outputs(answer.parts)
        return Completed(tuple(argv), answer.header["returncode"], stdout, stderr, answer.header["seconds"])

    async def put(self, content: bytes | Path, path: PurePosixPath, mode: int = 0o644) -> None:
        """See Machine.put. What is big goes in pieces, resumed where a lost connection left off, and not at all when
        it is there. Raises InfrastructureError."""
        with _about(self.name, path):
            if isinstance(content, Path) and await anyio.to_thread.run_sync(_size, content) <= PIECE:
                content = await anyio.to_thread.run_sync(content.read_bytes)
            if isinstance(content, Path) or len(content) > PIECE:
                await self._upload(content, str(path), mode)
            else:
                await self.client.request("put", content, path=str(path), mode=mode)

    async def get(self, path: PurePosixPath) -> bytes:
        with _about(self.name, path):
            return b"".join([piece async for piece in self._pieces(path)])

    async def fetch(self, path: PurePosixPath, to: Path) -> None:
        await anyio.to_thread.run_sync(partial(to.parent.mkdir, parents=True, exist_ok=True))
        temporary = to.with_name(f".fetch-{uuid.uuid4().hex}")
        try:
            with _about(self.name, path):
                async with await anyio.open_file(temporary, "wb") as file:
                    async for piece in self._pieces(path):
                        await file.write(piece)
            await anyio.to_thread.run_sync(temporary.replace, to)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(partial(temporary.unlink, missing_ok=True))
            raise

    async def remove(self, path: PurePosixPath) -> None:
        with _about(self.name, path):
            await self.client.request("remove", path=str(path))

    async def spawn(self, spec: ServiceSpec, limits: Limits | None = None, *, become: bool = False) -> AgentService:
        """See Machine.spawn. `limits` are kept to under systemd."""
        what: dict[str, Any] = {"become": become}
        if self._shared_files:
            what["log"] = str(await anyio.to_thread.run_sync(spec.log.absolute))
        if limits is not None:
            what["limits"] = {"cpus": limits.cpus, "memory_bytes": limits.memory_bytes}
        return await self.client.spawn(spec, **what)

    async def facts(self) -> Facts:
        told = (await self.client.request("facts", folder=self._state)).header
        return Facts(**{key: value for key, value in told.items() if key != "id"})

    async def ledger_add(self, entry: str, undo: Sequence[Sequence[str]], what: str) -> None:
        """See Machine.ledger_add. Refused by agents that keep no run's lease."""
        await self.client.ledger_add(entry, [Undo(tuple(argv)) for argv in undo], what)

    async def ledger_remove(self, entry: str) -> None:
        await self.client.ledger_remove(entry)

    async def _upload(self, content: bytes | Path, path: str, mode: int) -> None:
        sha256 = await anyio.to_thread.run_sync(_digest, content)
        upload: dict[str, Any] = {"path": path, "upload": uuid.uuid4().hex}
        try:
            if "offset" in (have := (await self.client.request("have", **upload, sha256=sha256)).header):
                await self._send_pieces(content, upload, have["offset"])
            await self.client.request("finish", **upload, sha256=sha256, mode=mode)
        except BaseException:
            with contextlib.suppress(InfrastructureError), anyio.move_on_after(DROP_WITHIN, shield=True):
                await self.client.request("drop", **upload, finish=True)
            raise

    async def _send_pieces(self, content: bytes | Path, upload: Mapping[str, Any], offset: int) -> None:
        """In order: the agent takes them as they come."""
        in_flight: deque[asyncio.Task[Answer]] = deque()
        try:
            while piece := await anyio.to_thread.run_sync(_piece, content, offset):
                ask = self.client.request("append", piece, **upload, offset=offset)
                in_flight.append(asyncio.create_task(ask))
                offset += len(piece)
                if len(in_flight) == IN_FLIGHT:
                    await in_flight.popleft()
            while in_flight:
                await in_flight.popleft()
        finally:
            await _drop(in_flight)

    async def _pieces(self, path: PurePosixPath) -> AsyncIterator[bytes]:
        """Of a file. The second and those after it are asked for before they are needed."""
        in_flight: deque[asyncio.Task[Answer]] = deque()
        offset = 0

        def ask() -> None:
            nonlocal offset
            request = self.client.request("read", path=str(path), offset=offset, length=PIECE)
            in_flight.append(asyncio.create_task(request))
            offset += PIECE

        ask()
        try:
            while True:
                answer = await in_flight.popleft()
                yield answer.body
                if answer.header["last"]:
                    return
                while len(in_flight) < IN_FLIGHT:
                    ask()
        finally:
            await _drop(in_flight)


async def _drop(tasks: Collection[asyncio.Task[Answer]]) -> None:
    """Whoever asked does not want their answers any more."""
    for task in tasks:
        task.cancel()
    if tasks:
        with anyio.CancelScope(shield=True):
            await asyncio.wait(tasks)


@contextmanager
def _about(machine: str, path: PurePosixPath) -> Iterator[None]:
    """What is refused says where and what. Raises FileNotFoundError, InfrastructureError."""
    try:
        yield
    except Refusal as refusal:
        if refusal.kind == "not-found":
            raise FileNotFoundError(f"{machine}: {path}: there is no such file") from refusal
        raise InfrastructureError(f"{machine}: {path}: {refusal}") from refusal


def _outputs(parts: Mapping[str, bytearray]) -> tuple[bytes, bytes]:
    return bytes(parts.get("stdout", b"")), bytes(parts.get("stderr", b""))


def _size(path: Path) -> int:
    return path.stat().st_size


def _digest(content: bytes | Path) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _piece(content: bytes | Path, offset: int) -> bytes:
    if isinstance(content, bytes):
        return content[offset : offset + PIECE]
    with content.open("rb") as file:
        file.seek(offset)
        return file.read(PIECE)
