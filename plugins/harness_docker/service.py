"""A node's process: the main process of its container, from one start of the container to its end."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
from requests.exceptions import ReadTimeout

from harness.api import Exit, InfrastructureError, MachineLost, Service, ServiceSpec, Usage
from harness_docker.commands import Command, Commands
from harness_docker.engine import Engine, Interrupt, Refused
from harness_docker.streams import Hijacked, Log

INIT = "docker-init"
"""tini, as Docker calls it: it passes signals on, buries orphans, and ends with 128 + n when its child was ended by
signal n."""
SYNC = 'printf %s "$1" >/proc/1/fd/1 && printf %s "$1" >/proc/1/fd/2'
"""Writes into the pipes that the node writes into: behind everything that it has written."""
SYNC_WITHIN = 20.0
START_WITHIN = 30.0
"""Seconds that an init may take to start its program."""
CLOSE_WITHIN = 10.0
LOOK_AGAIN = 0.02
WAIT_SLICE = 30
OOM_WITHIN = 1.0
"""Seconds after the end of a container for its engine to hear that the kernel killed it for its memory."""
NOT_THERE = (404, 409, 500)
"""How engines of different ages refuse what can be done to a running container only."""


class DockerService(Service):
    """See Service. `pid` is that of the container's first process as the engine's kernel counts them, `start_time`
    when the engine started it, in Unix seconds.

    An end with status 128 + n is told as a death by signal n: the engine and the init both say it so. A program that
    exits with such a status of itself cannot be told from one that was killed."""

    def __init__(
        self, spec: ServiceSpec, engine: Engine, container: str, *, init: bool, warn: Callable[[str], None]
    ) -> None:
        self.spec = spec
        self._engine = engine
        self._container = container
        self._init = init
        self._warn = warn
        self._state: Mapping[str, Any] = {}
        self._exit: Exit | None = None
        self._asked_to_kill = False
        self._ended = anyio.Event()
        self._life: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        return int(self._state["Pid"])

    @property
    def start_time(self) -> float:
        return _moment(self._state["StartedAt"])

    @property
    def exit(self) -> Exit | None:
        return self._exit

    async def start(self) -> None:
        """Start the container, following its output from before its first byte. Raises InfrastructureError."""
        client = self._engine.client
        self._log = await anyio.to_thread.run_sync(Log, self.spec.log)
        try:
            attached = await self._engine.ask(
                client.attach_socket, self._container, params={"stdout": 1, "stderr": 1, "stream": 1}
            )
            output = Hijacked(attached)
        except BaseException:
            self._log.close()
            raise
        self._life = asyncio.create_task(self._live(output), name=f"container of {self.spec.name}")
        try:
            await self._engine.ask(client.start, self._container)
            self._state = await self._inspect()
        except InfrastructureError as error:
            output.cut()
            await asyncio.wait({self._life})
            raise type(error)(f"{self.spec.name} cannot be started: {error}") from error
        if self._init:
            await self._confirm()

    async def _confirm(self) -> None:
        """Wait until the init has started its program: before, it would lose signals, and a program that cannot be
        started would look like one that ended. The engine tells of neither, so it is asked again and again."""
        with anyio.move_on_after(START_WITHIN):
            while self._exit is None:
                try:
                    processes = await self._engine.ask(self._engine.client.top, self._container, "-eo pid,comm")
                except Refused:  # it has ended, or this engine's ps is another one
                    if (await self._inspect()).get("Running"):
                        return
                    await self._ended.wait()
                else:
                    names = {row[-1] for row in processes["Processes"] or ()}
                    if INIT in names and len(names) > 1:  # its child, too, is called so until it is the program
                        return
                    await anyio.sleep(LOOK_AGAIN)
        said = self._log.head.decode(errors="replace")
        if self._exit is not None and said.startswith("[FATAL tini"):
            raise InfrastructureError(f"{self.spec.name} cannot be started: {said.partition('] ')[2].strip()}")

    async def wait(self) -> Exit:
        await self._ended.wait()
        assert self._exit is not None
        return self._exit

    async def signal(self, number: int) -> None:
        """The init passes it on to the process group of its child; SIGKILL ends every process of the container. SIGSTOP
        and SIGCONT, which an init cannot pass on, mean `pause` and `resume`."""
        if number in (signal.SIGSTOP, signal.SIGCONT):
            await (self.pause() if number == signal.SIGSTOP else self.resume())
        else:
            self._asked_to_kill |= number == signal.SIGKILL
            await self._control(partial(self._engine.client.kill, self._container, number), f"signal {number}")

    async def pause(self) -> None:
        """Freeze the container's cgroup: every process in it, whatever group it is in."""
        async with self._engine.starts[self._container].none(self._runs):
            await self._control(partial(self._engine.client.pause, self._container), "pause", unless="paused")

    async def _runs(self, execution: str) -> bool:
        """Whether a command that was begun there has its process."""
        try:
            return bool((await self._engine.ask(self._engine.client.exec_inspect, execution))["Pid"])
        except Refused:  # it is no more
            return True

    async def resume(self) -> None:
        await self._control(partial(self._engine.client.unpause, self._container), "resume", unless="running")

    async def _control(self, call: Callable[[], object], what: str, unless: str = "") -> None:
        """Raises InfrastructureError; what has ended, and what is `unless` already, is not minded."""
        if self._exit is not None:
            return
        try:
            await self._engine.ask(call)
        except Refused as refused:
            if refused.status not in NOT_THERE or await self.state() not in ("gone", unless):
                raise InfrastructureError(f"{self.spec.name}: {what}: {refused}") from refused

    async def sync_log(self) -> None:
        """Sends a marker down the pipes that the node writes into, and waits until it comes out, which takes a shell in
        the image. Of a paused node it cannot be had."""
        if self._exit is None:
            marker, seen, loop = f"<sync {secrets.token_hex(16)}>", anyio.Event(), asyncio.get_running_loop()
            self._log.expect(marker.encode(), partial(loop.call_soon_threadsafe, seen.set))
            try:
                commands = Commands(self._engine, self._container, self._warn)
                done = await commands.run(Command(("sh", "-c", SYNC, "sh", marker)), SYNC_WITHIN)
                if done.returncode:
                    why = done.stderr.decode(errors="replace").strip() or f"exit status {done.returncode}"
                    raise InfrastructureError(why)
                with anyio.move_on_after(SYNC_WITHIN):
                    await seen.wait()
                if not seen.is_set():
                    raise InfrastructureError("its output does not come")
            except InfrastructureError as error:
                if await self.state() != "gone":
                    raise InfrastructureError(f"{self.spec.name}: its log is not complete: {error}") from error
                await self._ended.wait()
        if self._log.error:
            raise InfrastructureError(f"{self.spec.name}: {self._log.error}")

    async def state(self) -> str:
        seen = await self._inspect()
        if not seen.get("Running") or seen["StartedAt"] != self._state["StartedAt"]:
            return "gone"
        return "paused" if seen["Paused"] else "running"

    async def usage(self) -> Usage | None:
        if self._exit is not None:
            return None
        read = partial(self._engine.client.stats, self._container, stream=False, one_shot=True)
        try:
            told: Mapping[str, Any] = await self._engine.ask(read)
        except Refused:  # it has ended meanwhile
            return None
        memory, cpu = told.get("memory_stats") or {}, told.get("cpu_stats") or {}
        nanoseconds = (cpu.get("cpu_usage") or {}).get("total_usage")
        if nanoseconds is None or "usage" not in memory:
            return None
        cache = (memory.get("stats") or {}).get("inactive_file", 0)  # what the kernel gives back when it is wanted
        return Usage(nanoseconds / 1e9, max(0, memory["usage"] - cache))

    async def close(self) -> None:
        """Wait until its end is known: its container is gone. Of an engine that stands still nothing more is heard."""
        if self._life is not None:
            finished, _ = await asyncio.wait({self._life}, timeout=CLOSE_WITHIN)
            if not finished:
                self._life.cancel()
                await asyncio.wait({self._life})

    async def _inspect(self) -> Mapping[str, Any]:
        """The container's state, {} when there is none any more."""
        state: Mapping[str, Any] = (await self._look()).get("State", {})
        return state

    async def _look(self) -> Mapping[str, Any]:
        """The container, {} when there is none any more."""
        try:
            seen: Mapping[str, Any] = await self._engine.ask(self._engine.client.inspect_container, self._container)
        except Refused as refused:
            if refused.status == 404:
                return {}
            raise
        return seen

    async def _live(self, output: Hijacked) -> None:
        """A task of its own, out of the reach of any caller's cancellation: the log, then the end."""
        how = Exit(None, None, time.time())
        try:
            await self._engine.stream(partial(self._follow, output))
            how = await self._see_end()
        except MachineLost as error:
            self._warn(f"the engine was lost: whether {self.spec.name} still runs is not known: {error}")
        except InfrastructureError as error:
            self._warn(f"nobody saw how {self.spec.name} ended: {error}")
        finally:
            self._exit = how
            self._ended.set()

    def _follow(self, output: Hijacked, interrupt: Interrupt) -> None:
        interrupt.watch(output.response)
        try:
            for stream, data in output.frames():
                self._log.write(stream, data)
        finally:
            self._log.close()
            output.close()

    async def _see_end(self) -> Exit:
        """Its output ends with it, unless it closed that before. In slices: a request that waits cannot be cut."""
        while (seen := await self._inspect()).get("Running"):
            await self._engine.stream(self._wait_a_while)
        if not seen:
            return Exit(None, None, time.time())
        code = int(seen["ExitCode"])
        at = _moment(seen["FinishedAt"]) or time.time()
        number = code - 128 if 128 < code < 128 + signal.NSIG else None
        why = await self._out_of_memory(seen, killed=number == signal.SIGKILL and not self._asked_to_kill)
        if why:
            self._warn(f"{self.spec.name} ran {why}: the kernel killed it, or what it had started")
        return Exit(code if number is None else None, number, at, why)

    async def _out_of_memory(self, seen: Mapping[str, Any], *, killed: bool) -> str:
        """Said of what ended for want of memory, "" of others. `killed`: by somebody, who may have been the kernel: the
        engine hears of that by another way than of the end, perhaps later."""
        limit = _limit(await self._look())
        with anyio.move_on_after(OOM_WITHIN if killed and limit else 0):
            while seen and not seen.get("OOMKilled"):
                await anyio.sleep(LOOK_AGAIN)
                seen = await self._inspect()
        return f"out of memory{limit}" if seen.get("OOMKilled") else ""

    def _wait_a_while(self, _: Interrupt) -> None:
        with contextlib.suppress(ReadTimeout):
            self._engine.client.wait(self._container, timeout=WAIT_SLICE, condition="not-running")


def _limit(container: Mapping[str, Any]) -> str:
    """` (limit 32 MiB)`, as the engine has it."""
    memory = container.get("HostConfig", {}).get("Memory")
    return f" (limit {memory / (1 << 20):.4g} MiB)" if memory else ""


def _moment(text: str) -> float:
    """Unix seconds of a moment in the engine's words, "2026-01-31T12:00:00.123456789Z"; 0.0 for none (year 1)."""
    seconds, _, fraction = text.rstrip("Z").partition(".")
    moment = datetime.fromisoformat(f"{seconds}+00:00")
    return moment.timestamp() + float(f"0.{fraction or 0}") if moment.year > 1 else 0.0
