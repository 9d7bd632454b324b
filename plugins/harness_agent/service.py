"""A service on a machine, as its controller sees it: also over the loss of a connection, and after it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from harness.api import Exit, InfrastructureError, MachineLost, Service, ServiceSpec, Usage

if TYPE_CHECKING:
    from harness_agent.client import AgentClient


class AgentService(Service):
    """A process held by an agent. `log` of its spec is written as what it says comes in."""

    def __init__(self, client: AgentClient, spec: ServiceSpec, key: str, streamed: bool) -> None:
        """`streamed`: the agent writes the log to a file of its own, and sends it."""
        self.spec = spec
        self.key = key
        self.streamed = streamed
        self._client = client
        self._pid = 0
        self._start_time = 0.0
        self._exit: Exit | None = None
        self._ended = anyio.Event()
        self._signals = 0
        self.coming = 0
        """Bytes of its log that have come, and are written or being written."""
        self._logged = 0
        self._log_error = ""
        self._grown = asyncio.Event()

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

        Raises InfrastructureError when it is not allowed (a node that became another user), and MachineLost."""
        await self._signal(number, f"signal {number} was not sent")

    async def pause(self) -> None:
        await self._signal("pause", "it was not paused")

    async def resume(self) -> None:
        await self._signal("resume", "it was not resumed")

    async def tell(self, line: str, *, repeatable: bool = False) -> None:
        """Send an attached process a line; where that does no harm (`repeatable`), perhaps twice. Raises
        InfrastructureError when it is not there to read it."""
        await self._client.request("tell", key=self.key, line=line, repeatable=repeatable)

    async def sync_log(self) -> None:
        if not self.streamed:
            return
        size = (await self._client.request("log-size", key=self.key)).header["size"]
        while self._logged < size:
            if self._log_error:
                raise InfrastructureError(f"the log of {self.spec.name} is not complete: {self._log_error}")
            if self._client.gone:
                raise MachineLost(f"the log of {self.spec.name} is not complete: {self._client.gone}")
            await self._grown.wait()

    async def state(self) -> str:
        """Asked of the kernel through the agent. Raises MachineLost."""
        answer = await self._client.request("state", key=self.key, pid=self._pid, start=self._start_time)
        return str(answer.header["state"])

    async def usage(self) -> Usage | None:
        if self._exit is not None:
            return None
        answer = await self._client.request("usage", pid=self._pid, start=self._start_time)
        told = answer.header
        return Usage(float(told["cpu"]), int(told["memory"])) if "cpu" in told else None

    def started(self, pid: int, start_time: float) -> None:
        self._pid, self._start_time = pid, start_time

    def ended(self, how: Exit) -> None:
        """The first news of it counts."""
        if self._exit is None:
            self._exit = how
            self._ended.set()

    def take(self, offset: int, content: bytes) -> bytes:
        """What of a piece of its log is new, and is going to be written."""
        new = content[self.coming - offset :] if offset <= self.coming else b""
        self.coming += len(new)
        return new

    def grown(self, size: int, error: str = "") -> None:
        """So much more of its log has been written, or could not be."""
        self._logged += size
        self._log_error = self._log_error or error
        self.stir()

    def stir(self) -> None:
        """Whoever waits for its log is to look again."""
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()

    async def _signal(self, number: int | str, otherwise: str) -> None:
        if self._exit is not None:
            return
        self._signals += 1
        try:
            await self._client.request("signal", key=self.key, number=number, nth=self._signals, finish=True)
        except MachineLost:
            if self._exit is None:
                raise
        except InfrastructureError as error:
            raise InfrastructureError(f"{self.spec.name}: {otherwise}: {error}") from error


def exit_of(told: dict[str, Any]) -> Exit:
    """As agents tell it."""
    return Exit(told["code"], told["signal"], told["at"])


def unseen() -> Exit:
    """Of one that nobody saw end."""
    return Exit(None, None, time.time())


def append(pieces: Iterable[tuple[Path, bytes]]) -> dict[Path, str]:
    """Write to logs; those that could not be written, and why. Blocking."""
    failed: dict[Path, str] = {}
    for path, content in pieces:
        try:
            with contextlib.ExitStack() as files:
                path.parent.mkdir(parents=True, exist_ok=True)
                files.enter_context(path.open("ab")).write(content)
        except OSError as error:
            failed[path] = str(error)
    return failed
