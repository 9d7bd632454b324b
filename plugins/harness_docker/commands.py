"""Commands in a running container. The engine can start one, but not end one: that is done from inside."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import anyio

from harness.api import CommandRecord, CommandTimeout, Completed, InfrastructureError, MachineLost
from harness_docker.engine import Engine, Interrupt, Refused
from harness_docker.streams import STDERR, STDOUT, Hijacked

MARK = "HARNESS_COMMAND"
"""In the environment of a command and of what it starts: by it they are found when they are to be killed."""
KILL = """
for attempt in 1 2 3 4 5; do
    found=
    for file in $(grep -ls -- "$1" /proc/[0-9]*/environ); do
        pid=${file#/proc/}
        kill -9 "${pid%/environ}" 2>/dev/null && found=1
    done
    [ "$found" ] || exit 0
done
exit 1
"""
KILL_WITHIN = 10.0
FIRST_LOOK, LAST_LOOK = 0.01, 0.2
"""Seconds between two looks at a command whose output has ended, growing: the engine's answer is all there is."""
ROOT_USER = "0"
NOT_RUNNING = 409
"""The status with which an engine refuses a command in a container that does not run, or is paused."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command as it is to be run. `user` "" is the image's own."""

    argv: tuple[str, ...]
    input: bytes = b""
    env: Mapping[str, str] | None = None
    cwd: PurePosixPath | None = None
    user: str = ""


@dataclass(slots=True)
class Execution:
    """A command that the engine knows, by its id. `asked`: it was asked to start it. `stdout` and `stderr`: what it has
    written."""

    id: str
    command: Command
    asked: bool = False
    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)


class Commands:
    """Commands in one container. `warn` is told of one that could not be killed when it should have been."""

    def __init__(self, engine: Engine, container: str, warn: Callable[[str], None]) -> None:
        self._engine = engine
        self._container = container
        self._warn = warn

    async def run(self, command: Command, timeout: float) -> Completed:
        """Run it to its end; when that is not waited for, kill it and what it started.

        Raises Refused when the container takes no commands, InfrastructureError when it cannot be started,
        CommandTimeout, MachineLost."""
        mark = f"{MARK}={secrets.token_hex(16)}"
        began = time.monotonic()
        execution = await self._create(command, mark)
        try:
            with anyio.fail_after(timeout):
                await self._talk(execution)
                seen = await self._ended(execution)
        except TimeoutError:
            await self._kill(mark, execution)
            text = f"{command.argv[0]} took more than {timeout:g} s and was killed"
            raise CommandTimeout(text, bytes(execution.stdout), bytes(execution.stderr)) from None
        except anyio.get_cancelled_exc_class():
            await self._kill(mark, execution)
            raise
        stdout, stderr = bytes(execution.stdout), bytes(execution.stderr)
        if not seen["Pid"]:
            why = stdout.decode(errors="replace").strip() or "the container has no such user"
            raise InfrastructureError(f"{command.argv[0]} cannot be started: {why}")
        return Completed(command.argv, int(seen["ExitCode"]), stdout, stderr, time.monotonic() - began)

    async def _create(self, command: Command, *marks: str) -> Execution:
        created = await self._engine.ask(
            self._engine.client.exec_create,
            self._container,
            list(command.argv),
            stdin=bool(command.input),
            user=command.user,
            workdir=str(command.cwd) if command.cwd is not None else None,
            environment=[*(f"{key}={value}" for key, value in (command.env or {}).items()), *marks],
        )
        return Execution(str(created["Id"]), command)

    async def _talk(self, execution: Execution) -> None:
        starts = self._engine.starts[self._container]
        await starts.begin(execution.id)
        try:
            await self._engine.stream(partial(self._converse, execution))
        finally:
            starts.end(execution.id)

    def _converse(self, execution: Execution, interrupt: Interrupt) -> None:
        """Start it, send its input and collect its output at the same time."""
        if interrupt.stopped:
            return
        execution.asked = True
        stream = Hijacked(self._engine.client.exec_start(execution.id, socket=True))
        input = execution.command.input
        writer = threading.Thread(target=stream.write_all, args=(input,), daemon=True)
        output = {STDOUT: execution.stdout, STDERR: execution.stderr}
        if input:
            writer.start()
        try:
            for number, data in stream.frames():
                output[number] += data
        finally:
            stream.cut()
            if input:
                writer.join()
            stream.close()

    async def _ended(self, execution: Execution) -> Mapping[str, Any]:
        """Wait for the end of a command whose output has ended."""
        pause = FIRST_LOOK
        while (seen := await self._inspect(execution))["Running"] or seen["ExitCode"] is None:
            await anyio.sleep(pause)
            pause = min(LAST_LOOK, 1.5 * pause)
        return seen

    async def _inspect(self, execution: Execution) -> Mapping[str, Any]:
        seen: Mapping[str, Any] = await self._engine.ask(self._engine.client.exec_inspect, execution.id)
        return seen

    async def _kill(self, mark: str, execution: Execution) -> None:
        """SIGKILL it and all that carries its mark, as the user that it ran as. In a container that has ended there is
        nothing left to kill."""
        if not execution.asked:
            return
        name = execution.command.argv[0]
        killer = Command(("sh", "-c", KILL, "sh", mark), user=execution.command.user)
        with anyio.CancelScope(shield=True), anyio.move_on_after(KILL_WITHIN) as limit:
            try:
                while True:  # the engine may be about to start it still
                    killing = await self._create(killer)
                    await self._talk(killing)
                    how = await self._ended(killing)
                    seen = await self._inspect(execution)
                    if not seen["Running"] and seen["ExitCode"] is not None:
                        return
                    if not how["Pid"] or killing.stderr:
                        break
                    await anyio.sleep(FIRST_LOOK)
                said = killing.stderr.decode(errors="replace").strip()
                self._warn(f"{name} could not be killed: {said or 'there is no sh'}")
            except Refused as refused:
                container = await self._engine.ask(self._engine.client.inspect_container, self._container)
                if container["State"]["Running"]:
                    self._warn(f"{name} could not be killed: {refused}")
            except MachineLost as lost:
                self._warn(f"{name} could not be killed: {lost}")
        if limit.cancelled_caught:
            self._warn(f"{name} was killed, but is still there after {KILL_WITHIN:g} s")


async def run_audited(
    machine: str,
    commands: Commands | None,
    command: Command,
    timeout: float,
    audit: Callable[[CommandRecord], None],
) -> Completed:
    """The same for a machine of this name, `commands` being None where there is no container yet; what came of it is
    told. Raises InfrastructureError, CommandTimeout and MachineLost, with its name."""
    began = time.monotonic()
    status: int | None = None
    error = "cancelled"
    try:
        done = await _run_named(machine, commands, command, timeout)
        status, error = done.returncode, ""
        return done
    except InfrastructureError as raised:
        error = str(raised)
        raise
    finally:
        user = "root" if command.user == ROOT_USER else ""
        audit(CommandRecord(machine, command.argv, status, time.monotonic() - began, user, error))


async def _run_named(machine: str, commands: Commands | None, command: Command, timeout: float) -> Completed:
    name = command.argv[0]
    if commands is None:
        raise InfrastructureError(f"{machine}: {name} cannot run: its container is made with its node")
    try:
        return await commands.run(command, timeout)
    except Refused as refused:
        why = {404: "its container is gone", NOT_RUNNING: "its container does not run, or is paused"}
        text = why.get(refused.status, str(refused))
        raise InfrastructureError(f"{machine}: {name} cannot run: {text}") from refused
    except CommandTimeout as error:
        raise CommandTimeout(f"{machine}: {error}", error.stdout, error.stderr) from error
    except InfrastructureError as error:
        raise type(error)(f"{machine}: {error}") from error
