"""Senders on other machines, where a station is (harness.load.station)."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import anyio
from anyio.abc import SocketAttribute, SocketStream

from harness.errors import InfrastructureError
from harness.load.peer import Line, Peer

CHUNK = 1 << 20
ANSWER_WITHIN = 20.0
LONGEST_ABOUT = 4096
WORDS_LOOKS = 10
WORDS_EVERY = 0.1
"""How often, and after how many seconds again, it is looked for what a sender said before it ended."""


@dataclass(frozen=True, slots=True)
class About:
    """What a station says of its machine. `parser` and `loop` are what its senders use: httptools and uvloop, or h11
    and asyncio, which are slower."""

    cpus: int
    python: str
    parser: str
    loop: str


@dataclass(frozen=True, slots=True)
class Station:
    """Where one is reached, what it wants to hear, and how to find out what it said besides."""

    machine: str
    host: str
    port: int
    secret: str
    last_words: Callable[[], Awaitable[str]]

    async def about(self) -> About:
        """Ask it. Raises InfrastructureError."""
        async with self._connected() as (_, about):
            return about

    @asynccontextmanager
    async def sender(self, name: str) -> AsyncIterator[Peer]:
        """A sender there; it ends with this context. Raises InfrastructureError."""
        async with self._connected() as (stream, _):
            yield Peer(f"{name} (on {self.machine})", _Connection(stream, self.last_words), self.machine)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[SocketStream, About]]:
        try:
            with anyio.fail_after(ANSWER_WITHIN):
                stream = await anyio.connect_tcp(self.host, self.port)
        except (OSError, TimeoutError) as error:
            raise await self._error(f"cannot be reached: {error or 'no answer'}") from error
        async with stream:
            stream.extra(SocketAttribute.raw_socket).setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                with anyio.fail_after(ANSWER_WITHIN):
                    await stream.send(self.secret.encode() + b"\n")
                    about = await _about(stream)
            except (anyio.EndOfStream, anyio.BrokenResourceError, TimeoutError, ValueError) as error:
                raise await self._error(f"does not answer as one: {type(error).__name__}") from error
            yield stream, about

    async def _error(self, why: str) -> InfrastructureError:
        last = await self.last_words()
        return InfrastructureError(f"what sends load on {self.machine} {why}" + (f": {last}" if last else ""))


class _Connection(Line):
    elsewhere = True

    def __init__(self, stream: SocketStream, last_words: Callable[[], Awaitable[str]]) -> None:
        self._stream = stream
        self._last_words = last_words

    async def send(self, data: bytes) -> None:
        await self._stream.send(data)

    async def receive(self) -> bytes:
        return await self._stream.receive(CHUNK)

    async def end(self) -> None:
        with suppress(OSError, RuntimeError):  # it is gone already; the latter is uvloop's word for that
            await self._stream.send_eof()

    async def last_words(self) -> str:
        for _ in range(WORDS_LOOKS):  # they come on a way of their own
            if words := await self._last_words():
                return words
            await anyio.sleep(WORDS_EVERY)
        return ""


async def _about(stream: SocketStream) -> About:
    """The line that it begins with; nothing follows before it is told something. Raises ValueError."""
    line = b""
    while not line.endswith(b"\n"):
        line += await stream.receive(LONGEST_ABOUT)
        if len(line) > LONGEST_ABOUT:
            raise ValueError("too long")
    told = json.loads(line)
    try:
        return About(int(told["cpus"]), str(told["python"]), str(told["parser"]), str(told["loop"]))
    except (KeyError, TypeError) as error:
        raise ValueError("not what a station says") from error
