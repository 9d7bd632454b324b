"""How an agent is reached: bytes there and back. SSH has its own; this is the one to an agent of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Protocol

import anyio

from harness.api import MachineLost
from harness_agent.remote import boot
from harness_agent.remote.frames import CHUNK

PATIENCE = 5.0
"""Seconds that an agent may take to end everything that it holds."""


class Transport(Protocol):
    """One task at a time sends, another one receives."""

    async def send(self, data: bytes) -> None:
        """All of it; waits while the other side is slow. Raises MachineLost."""

    async def receive(self) -> bytes:
        """Some bytes, none at the end. Raises MachineLost, which may say why it ended."""

    async def aclose(self) -> None:
        """Let go. Never raises, may be called again, and while another task waits in `receive`, which then ends."""


class SubprocessTransport:
    """A process of this machine, by its stdin and stdout. It has a session of its own: Ctrl-C in the terminal is for
    the controller alone."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        self._process = process
        self._to, self._from, self._complaints = process.stdin, process.stdout, process.stderr
        self._closing = False

    @classmethod
    async def start(cls, argv: Sequence[str] | None = None) -> SubprocessTransport:
        """Start an agent, which waits for its program; with our own interpreter unless told otherwise. Raises
        MachineLost."""
        try:
            with anyio.CancelScope(shield=True):
                process = await asyncio.create_subprocess_exec(
                    *(argv or boot.argv(sys.executable, boot.ATTACHED)),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                    start_new_session=True,
                )
        except OSError as error:
            raise MachineLost(f"no agent can be started: {error}") from error
        return cls(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def send(self, data: bytes) -> None:
        try:
            self._to.write(data)
            await self._to.drain()
        except (ConnectionError, RuntimeError) as error:
            raise MachineLost(f"the agent does not listen any more: {error}") from error

    async def receive(self) -> bytes:
        data = await self._from.read(CHUNK)
        if not data:
            complaint = (await self._complaints.read()).decode(errors="replace").strip()
            status = await self._process.wait()
            if status != 0 and not self._closing:
                how = signal.Signals(-status).name if status < 0 else f"status {status}"
                raise MachineLost(f"the agent has ended ({how}){complaint and ': '}{complaint[-2000:]}")
        return data

    async def aclose(self) -> None:
        """At the end of its stdin an agent ends all that it holds, and itself; one that does not is killed."""
        self._closing = True
        with contextlib.suppress(ConnectionError):
            self._to.close()
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(PATIENCE):
                await self._process.wait()
            self.kill()
            await self._process.wait()

    def kill(self) -> None:
        """SIGKILL to one that does not answer, and to what it was started through."""
        if self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)
