"""A node's container as a machine.

Everything that the harness and the node write is in a volume, at ROOT: it stays when the container is stopped, and
when it is made anew because its node is to run with other arguments."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO
from uuid import uuid4

import anyio
import anyio.to_thread
from docker.errors import NotFound

from harness.api import (
    CommandRecord,
    Completed,
    Facts,
    InfrastructureError,
    Machine,
    MachineCapability,
    Service,
    ServiceSpec,
)
from harness_docker.archive import Entry, pack, unpack_one, write_atomically
from harness_docker.commands import ROOT_USER, Command, Commands, run_audited
from harness_docker.containers import ROOT, Blueprint, create, owner_of, run_beside
from harness_docker.engine import Engine, Interrupt, Refused, explanation
from harness_docker.service import DockerService
from harness_docker.spool import Spool

MOVE = 'mkdir -p -- "$1" && if [ -d "$3" ]; then echo "$3 is a folder" >&2; exit 1; else mv -f -- "$2" "$3"; fi'
REMOVE = 'rm -rf -- "$1"'
TOOL_WITHIN = 120.0


class DockerMachine(Machine):
    """One container. It is made when its node is first started: what is put before that is held for it."""

    capabilities = frozenset({MachineCapability.NODE_CONTROL, MachineCapability.PAUSE, MachineCapability.COMMANDS})

    def __init__(
        self,
        name: str,
        engine: Engine,
        blueprint: Blueprint,
        facts: Facts,
        python: str,
        spool: Path,
        audit: Callable[[CommandRecord], None],
        warn: Callable[[str, str], None],
    ) -> None:
        self.name = name
        self.python = python
        self.kernel = f"docker {engine.id or engine.url}"
        self._engine = engine
        self._blueprint = blueprint
        self._facts = facts
        self._spool = Spool(spool)
        self._audit = audit
        self._warn = partial(warn, name)
        self._changing = anyio.Lock()  # what it is made of: files, container, service
        self._container = ""
        self._made_for: ServiceSpec | None = None
        self._service: DockerService | None = None
        self._owner = (0, 0)

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
        """See Machine.run. Without `cwd` it runs in the node's folder, without `become` as the image's user. What it
        leaves running when it ends lives on until its node does."""
        commands = Commands(self._engine, self._container, self._warn) if self._container else None
        command = Command(tuple(argv), input, env, cwd, ROOT_USER if become else "")
        return await run_audited(self.name, commands, command, timeout, self._audit)

    async def put(self, content: bytes | Path, path: PurePosixPath, mode: int = 0o644) -> None:
        async with self._changing:
            if not self._container:
                await anyio.to_thread.run_sync(self._spool.put, content, path, mode)
                return
            inside = ROOT in path.parents
            beside = self._same_file_system(path) / f".put-{uuid4().hex}"
            if not inside and not await self._takes_commands():
                with anyio.CancelScope(shield=True):  # it can only be written where it is to be: then as a whole
                    await self._upload([Entry(path, content, mode, self._owner)])
                return
            try:
                await self._upload([Entry(beside, content, mode, self._owner)])
                await self._tool(MOVE, path.parent, beside, path, as_node=inside)
            except BaseException:
                with anyio.CancelScope(shield=True), contextlib.suppress(InfrastructureError):
                    await self._tool(REMOVE, beside)
                raise

    def _same_file_system(self, path: PurePosixPath) -> PurePosixPath:
        """A folder that is there, from which a file can be moved to this path at once."""
        disk = self._blueprint.disk
        if disk is not None and disk.folder in path.parents:
            return disk.folder
        return ROOT if ROOT in path.parents else PurePosixPath("/")

    async def get(self, path: PurePosixPath) -> bytes:
        if not self._container:
            kept = self._spool.find(path)
            return await anyio.to_thread.run_sync(kept.read_bytes)
        content = io.BytesIO()
        await self._engine.stream(lambda _: self._download(path, content))
        return content.getvalue()

    async def fetch(self, path: PurePosixPath, to: Path) -> None:
        if not self._container:
            kept = self._spool.find(path)
            await anyio.to_thread.run_sync(_copy, kept, to)
            return
        await self._engine.stream(lambda _: write_atomically(to, partial(self._download, path)))

    async def remove(self, path: PurePosixPath) -> None:
        """See Machine.remove. While the node does not run, only below ROOT: there another container can reach it."""
        async with self._changing:
            if not self._container:
                await anyio.to_thread.run_sync(self._spool.remove, path)
            elif ROOT in path.parents or await self._takes_commands():
                await self._tool(REMOVE, path)
            else:
                raise InfrastructureError(f"{self.name}: {path} can be removed while its node runs only")

    async def spawn(self, spec: ServiceSpec) -> Service:
        """Start the node's process, as the container's own. With other arguments, environment or folder than before the
        container is made anew: what is below ROOT stays, the rest is again as in the image.

        Not to be cancelled half-way: whoever is waiting for it gets it, and can end it."""
        with anyio.CancelScope(shield=True):
            async with self._changing:
                if self._service is not None and self._service.exit is None:
                    raise InfrastructureError(f"{self.name}: {self._service.spec.name} runs already, and it runs one")
                try:
                    await self._have_container(spec)
                except Refused as refused:
                    raise InfrastructureError(f"{self.name}: no container for {spec.name}: {refused}") from refused
                init = self._blueprint.init
                service = DockerService(spec, self._engine, self._container, init=init, warn=self._warn)
                self._service = service
                await service.start()
        return service

    async def facts(self) -> Facts:
        return self._facts

    async def close(self) -> None:
        """After its container was removed: wait until everything about it has ended."""
        if self._service is not None:
            await self._service.close()
        await anyio.to_thread.run_sync(self._spool.clear)

    async def _have_container(self, spec: ServiceSpec) -> None:
        if self._made_for is not None and _runs_the_same(self._made_for, spec):
            return
        if self._container:
            await self._engine.ask(self._engine.client.remove_container, self._container, force=True)
            self._made_for = None
        self._container = await self._engine.ask(create, self._engine.client, self._blueprint, spec)
        self._owner = await self._engine.stream(self._look_up_owner)
        held = self._spool.files
        files = [Entry(path, file.kept, file.mode, self._owner) for path, file in held]
        folders = {folder for path in (spec.cwd / "-", *(path for path, _ in held)) for folder in path.parents}
        ours = sorted(folder for folder in folders if folder == ROOT or ROOT in folder.parents)
        await self._upload([*(Entry(folder, None, 0o755, self._owner) for folder in ours), *files])
        await anyio.to_thread.run_sync(self._spool.clear)
        self._made_for = spec

    def _look_up_owner(self, _: Interrupt) -> tuple[int, int]:
        def read(path: PurePosixPath) -> bytes:
            content = io.BytesIO()
            self._download(path, content)
            return content.getvalue()

        return owner_of(self._blueprint.user, read)

    async def _upload(self, entries: Sequence[Entry]) -> None:
        def send(interrupt: Interrupt) -> None:
            for entry in entries:
                if isinstance(entry.content, Path):
                    entry.content.stat()  # what is not there is the caller's mistake, not the engine's
            self._engine.client.put_archive(self._container, "/", pack(entries, interrupt))

        await self._engine.stream(send)

    def _download(self, path: PurePosixPath, sink: IO[bytes]) -> None:
        """The file at `path`, or that a link there leads to. Raises FileNotFoundError, IsADirectoryError."""
        client = self._engine.client
        try:
            chunks, about = client.get_archive(self._container, str(path))
            if about["linkTarget"]:
                chunks.close()
                chunks, about = client.get_archive(self._container, about["linkTarget"])
        except NotFound as error:
            if "No such container" in explanation(error):
                raise
            raise FileNotFoundError(f"{self.name} has no file {path}") from error
        unpack_one(chunks, path, sink)

    async def _takes_commands(self) -> bool:
        seen = await self._engine.ask(self._engine.client.inspect_container, self._container)
        return bool(seen["State"]["Running"] and not seen["State"]["Paused"])

    async def _tool(self, script: str, *arguments: PurePosixPath, as_node: bool = False) -> None:
        """Have a shell do something with files: the container's own where it takes commands, else that of another one
        which has the same volume. Raises InfrastructureError."""
        argv = ("sh", "-c", script, "sh", *map(str, arguments))
        user = "" if as_node else ROOT_USER
        if await self._takes_commands():
            done = await Commands(self._engine, self._container, self._warn).run(Command(argv, user=user), TOOL_WITHIN)
            status, said = done.returncode, done.stderr
        else:
            status, said = await self._engine.stream(
                lambda _: run_beside(self._engine.client, self._blueprint, self._container, argv, user)
            )
        if status:
            raise InfrastructureError(f"{self.name}: {said.decode(errors='replace').strip() or f'status {status}'}")


def _copy(source: Path, to: Path) -> None:
    with source.open("rb") as file:
        write_atomically(to, partial(shutil.copyfileobj, file))


def _runs_the_same(one: ServiceSpec, other: ServiceSpec) -> bool:
    return (one.argv, one.cwd, dict(one.env)) == (other.argv, other.cwd, dict(other.env))
