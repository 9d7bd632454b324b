"""The controller's end of a supervisor: services are spawned through it, and it is watched until it is gone."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from harness.api import DeployError, Exit, InfrastructureError, Service, ServiceSpec
from harness_process import leftovers
from harness_process.leftovers import Leftover
from harness_process.supervisor import look

RECORD = "processes.jsonl"
ANSWER_WITHIN = 20.0
"""Seconds that the supervisor may take to answer: far more than it needs on the busiest machine."""
PATIENCE = 5.0
"""Seconds that a supervisor may take to end everything that it holds, and that SIGKILL may take after it."""
LONGEST_LINE = 16 * 1024 * 1024
PYTHON = (sys.executable, "-I", "-S", "-X", "utf8")
"""Our own scripts need the standard library alone: isolated, without site, they start quickly."""


class LocalService(Service):
    """A process of this machine, held by a supervisor."""

    def __init__(self, spec: ServiceSpec, number: int, supervision: Supervision) -> None:
        self.spec = spec
        self.number = number
        self._supervision = supervision
        self._pid = 0
        self._start_time = 0.0
        self._exit: Exit | None = None
        self._ended = anyio.Event()

    @property
    def pid(self) -> int:
        return self._pid

    @property
    def start_time(self) -> float:
        return self._start_time

    @property
    def exit(self) -> Exit | None:
        return self._exit

    async def wait(self) -> Exit:
        await self._ended.wait()
        assert self._exit is not None
        return self._exit

    async def signal(self, number: int) -> None:
        """The kernel delivers it when it comes to it: `state` may say the old for a moment after SIGSTOP or SIGCONT.

        Raises InfrastructureError when it is not allowed (a node that became another user)."""
        if self._exit is None:
            await self._supervision.signal(self, number)

    async def state(self) -> str:
        process = await anyio.to_thread.run_sync(look, self._pid)
        if process is None or process.start != self._start_time or not process.alive:
            return "gone"
        return "paused" if process.stopped else "running"

    def started(self, pid: int, start_time: float) -> None:
        self._pid, self._start_time = pid, start_time

    def ended(self, how: Exit) -> None:
        self._exit = how
        self._ended.set()


@dataclass(frozen=True, slots=True)
class Pipes:
    """What a process has besides its log: files for stdin and stderr, or `hear`, a callback for the lines that it
    says: then it is attached, its stdin and stdout are ours, and the log gets its stderr."""

    stdin: Path | None = None
    stderr: Path | None = None
    hear: Callable[[str], None] | None = None


class Supervision:
    """A running supervisor. Its replies are read by a task of its own, out of the reach of the caller's cancellation,
    so that teardown still hears it."""

    def __init__(self, process: asyncio.subprocess.Process, record: Path) -> None:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        self._process = process
        self._to, self._from, self._complaints = process.stdin, process.stdout, process.stderr
        self._record = record
        self._numbers = itertools.count(1)
        self._pending: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._services: dict[int, LocalService] = {}
        self._hearers: dict[int, Callable[[str], None]] = {}
        self._gone = ""  # why nobody answers any more
        self._life = asyncio.create_task(self._listen(), name="supervisor")

    @classmethod
    async def start(cls, run_dir: Path) -> Supervision:
        """Start a supervisor with its record in `run_dir`. Raises DeployError.

        It has a session of its own: Ctrl-C in the terminal is for the controller alone."""
        script, record = Path(__file__).with_name("supervisor.py"), run_dir / RECORD
        try:
            with anyio.CancelScope(shield=True):
                process = await asyncio.create_subprocess_exec(
                    *PYTHON,
                    str(script),
                    str(record),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                    start_new_session=True,
                    limit=LONGEST_LINE,
                )
        except OSError as error:
            raise DeployError(f"process: the supervisor cannot be started: {error}") from error
        supervision = cls(process, record)
        try:
            await supervision._ask("renew")
        except InfrastructureError as error:
            raise DeployError(f"process: {error}") from error
        return supervision

    @property
    def pid(self) -> int:
        return self._process.pid

    async def spawn(self, spec: ServiceSpec, env: Mapping[str, str], pipes: Pipes | None = None) -> LocalService:
        """Start a process with exactly the environment `env`. Raises InfrastructureError.

        Not to be cancelled half-way: whoever is waiting for it gets it, and can end it."""
        pipes = pipes or Pipes()
        number = next(self._numbers)
        # Known before it is asked for: it may have ended before its caller has heard that it started.
        service = self._services[number] = LocalService(spec, number, self)
        if pipes.hear is not None:
            self._hearers[number] = pipes.hear
        try:
            answer = await self._ask(
                "spawn",
                service=number,
                name=spec.name,
                argv=list(spec.argv),
                env=dict(env),
                cwd=str(spec.cwd),
                stdin=str(pipes.stdin) if pipes.stdin else None,
                stdout=str(spec.log.absolute()),
                stderr=str(pipes.stderr) if pipes.stderr else None,
                attach=pipes.hear is not None,
            )
        except InfrastructureError as error:
            self._forget(number, Exit(None, None, time.time()))
            raise InfrastructureError(f"{spec.name} cannot be started: {error}") from error
        service.started(answer["pid"], answer["start"])
        return service

    async def signal(self, service: LocalService, number: int) -> None:
        """Send a signal to a service's group. Without a supervisor there is nothing to do: its services are ending."""
        try:
            await self._ask("signal", service=service.number, number=number)
        except InfrastructureError as error:
            if not self._gone:
                raise InfrastructureError(f"{service.spec.name}: signal {number} was not sent: {error}") from error

    async def tell(self, service: LocalService, line: str) -> None:
        """Send an attached process a line. Raises InfrastructureError when it is not there to read it."""
        await self._ask("tell", service=service.number, line=line)

    async def close(self) -> list[Leftover]:
        """End everything that is held, and the supervisor. Returns what is left in spite of that."""
        with anyio.CancelScope(shield=True):
            self._to.close()
            finished, _ = await asyncio.wait({self._life}, timeout=PATIENCE)
            if not finished and self._process.returncode is None:
                self._process.kill()
            await asyncio.wait({self._life})
        return self._life.result()

    async def _ask(self, do: str, **what: Any) -> dict[str, Any]:
        if self._gone:
            raise InfrastructureError(self._gone)
        number = next(self._numbers)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._pending[number] = answer
        self._to.write(json.dumps({"id": number, "do": do, **what}).encode() + b"\n")
        with anyio.CancelScope(shield=True):  # it has been sent: it will be done, and answered, or the answerer dies
            answered, _ = await asyncio.wait({answer}, timeout=ANSWER_WITHIN)
            if not answered:  # stopped, or starved: who cannot answer cannot end what it holds either
                self._process.kill()
                await asyncio.wait({answer})
        return answer.result()

    async def _listen(self) -> list[Leftover]:
        """Until the supervisor is gone, and all that it held with it; returns what is left."""
        try:
            async for line in self._from:
                self._hear(json.loads(line))
        finally:
            if not self._from.at_eof():
                self._process.kill()  # nobody is going to listen to it any more
            status = await self._process.wait()
            complaint = (await self._complaints.read()).decode(errors="replace").strip()
            how = signal.Signals(-status).name if status < 0 else f"status {status}"
            self._gone = f"the supervisor of this run has ended ({how}){complaint and ': '}{complaint}"
            self._to.close()
            try:
                # Its children died with it where the kernel does that; this is for the others, and to know.
                _, left = await anyio.to_thread.run_sync(leftovers.end, self._record, PATIENCE)
            finally:
                for answer in self._pending.values():
                    if not answer.done():
                        answer.set_exception(InfrastructureError(self._gone))
                for number in list(self._services):
                    self._forget(number, Exit(None, None, time.time()))
        return left

    def _hear(self, message: dict[str, Any]) -> None:
        if "exit" in message:
            self._forget(message["exit"], Exit(message["code"], message["signal"], message["at"]))
        elif "said" in message:
            if message["said"] in self._hearers:
                self._hearers[message["said"]](message["line"])
        else:
            answer = self._pending.pop(message["id"])
            if answer.done():  # cancelled
                return
            if "error" in message:
                answer.set_exception(InfrastructureError(message["error"]))
            else:
                answer.set_result(message)

    def _forget(self, number: int, how: Exit) -> None:
        """A service has ended, or was never started."""
        self._hearers.pop(number, None)
        if (service := self._services.pop(number, None)) is not None:
            service.ended(how)
