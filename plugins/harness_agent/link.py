"""One connection to an agent: greeted, set up by questions one at a time, then served until it ends."""

from __future__ import annotations

import asyncio
import collections
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping

import anyio

from harness.api import InfrastructureError, MachineLost
from harness_agent.bundle import program
from harness_agent.remote.frames import MAGIC, BrokenStream, Decoder, Frame, Header, encode
from harness_agent.transport import Transport

_LONGEST_NOISE = 64 * 1024
"""Bytes that a login shell may say before the agent does."""
_LAST_WORDS = 1.0
"""Seconds for what was on its way when nothing could be sent any more."""

Heard = Callable[[Iterable[Frame]], Awaitable[None]]
Lost = Callable[[str], Awaitable[None]]


class Refusal(InfrastructureError):
    """What an agent answers to a request that it cannot fulfil. `kind` is for programs, the text for people; `parts` is
    what had come before it."""

    def __init__(self, answer: Header, parts: Mapping[str, bytearray] | None = None) -> None:
        self.answer = answer
        self.parts = parts or {}
        self.kind: str = answer.get("kind", "refused")
        super().__init__(answer["error"])


class Link:
    """Everything raises MachineLost when the transport ends. `last_heard` is on the monotonic clock."""

    def __init__(self, transport: Transport) -> None:
        self.last_heard = time.monotonic()
        self._transport = transport
        self._decoder = Decoder()
        self._frames: collections.deque[Frame] = collections.deque()
        self._unsent: collections.deque[bytes] = collections.deque()
        self._to_send = asyncio.Event()
        self._scope = anyio.CancelScope()
        self._why = ""
        self._life: asyncio.Task[None] | None = None

    async def greet(self) -> Header:
        """Send the program, and hear what it says of where it is."""
        problem: MachineLost | None = None
        try:
            await self._transport.send(program())
        except MachineLost as error:
            problem = error  # what it says for its end, if anything, is to be read
        noise = b""
        while MAGIC not in noise:
            if len(noise) > _LONGEST_NOISE:
                raise MachineLost(f"no agent answers, but this: {_shown(noise)}")
            data = await self._transport.receive()
            if not data:
                if noise:
                    raise MachineLost(f"no agent answers, but this: {_shown(noise)}")
                raise problem or MachineLost("no agent answers")
            noise += data
        self._feed(noise.partition(MAGIC)[2])
        return (await self._next())[0]

    async def exchange(self, request: Header, body: bytes = b"") -> Header:
        """Ask one question, before `serve`. Raises Refusal."""
        await self._transport.send(encode({"id": 0, **request}, body))
        answer = await self.hear("id")
        if "error" in answer:
            raise Refusal(answer)
        return answer

    async def hear(self, key: str) -> Header:
        """The next thing said that has this key, before `serve`: what comes before it is for whoever serves."""
        others: list[Frame] = []
        while key not in (frame := await self._next())[0]:
            others.append(frame)
        self._frames.extendleft(reversed(others))
        return frame[0]

    def serve(self, heard: Heard, lost: Lost) -> None:
        """From now on `heard` is given what comes; `lost` is told why nothing does any more. In a task of its own,
        out of the reach of any caller's cancellation, so that teardown still hears."""
        self._life = asyncio.create_task(self._serve(heard, lost), name="agent link")

    def send(self, header: Header, body: bytes = b"") -> None:
        self._unsent.append(encode(header, body))
        self._to_send.set()

    def fail(self, why: str) -> None:
        """Let go of one that does not answer."""
        self._why = self._why or why
        self._scope.cancel()

    async def aclose(self) -> None:
        self.fail("it was closed")
        if self._life is not None:
            await asyncio.wait({self._life})
        else:
            await self._transport.aclose()

    async def _serve(self, heard: Heard, lost: Lost) -> None:
        try:
            with self._scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._write)
                    await self._read(heard)
                    tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await self._transport.aclose()
                await lost(self._why or "the connection has ended")

    async def _read(self, heard: Heard) -> None:
        try:
            while True:
                frames, self._frames = self._frames, collections.deque()
                await heard(frames)
                data = await self._transport.receive()
                self.last_heard = time.monotonic()
                if not data:
                    return
                self._feed(data)
        except MachineLost as error:
            self._why = self._why or str(error)

    async def _write(self) -> None:
        try:
            while True:
                await self._to_send.wait()
                self._to_send.clear()
                while self._unsent:
                    await self._transport.send(self._unsent.popleft())
                    self.last_heard = time.monotonic()  # it was taken: somebody is there
        except MachineLost as error:
            # What it had to say is still being read; when that ends, this is not why.
            await anyio.sleep(_LAST_WORDS)
            self.fail(str(error))

    async def _next(self) -> Frame:
        while not self._frames:
            data = await self._transport.receive()
            if not data:
                raise MachineLost("the agent has ended before it answered")
            self._feed(data)
        return self._frames.popleft()

    def _feed(self, data: bytes) -> None:
        try:
            self._frames.extend(self._decoder.feed(data))
        except BrokenStream as error:
            raise MachineLost(f"what comes is not from an agent: {error}") from error


def _shown(noise: bytes) -> str:
    return noise[-300:].decode(errors="replace").strip()
