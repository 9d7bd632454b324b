"""Requests to an agent: many at once, over one connection that may be replaced by another."""

from __future__ import annotations

import asyncio
import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import anyio

from harness.api import Access, CommandRecord, InfrastructureError, MachineLost
from harness_agent.link import Link, Refusal
from harness_agent.remote.frames import Frame, Header
from harness_agent.transport import Transport
from harness_agent.values import Become, Hello

ANSWER_WITHIN = 60.0
"""Seconds without a sign of life after which a machine that owes an answer counts as lost."""
UNAUDITED = Access().audit


async def no_aftermath() -> None:
    """For whoever has nothing to do when a connection has ended."""


@dataclass(slots=True)
class Answer:
    """What came for a request: its header, its body, and the parts that came before it by their names."""

    header: Header
    body: bytes = b""
    parts: dict[str, bytearray] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Request:
    header: Header
    body: bytes
    repeatable: bool
    answer: asyncio.Future[Answer]
    scope: anyio.CancelScope
    within: float
    sent: float = 0.0  # when, 0 if it was not
    parts: dict[str, bytearray] = field(default_factory=dict)

    def fail(self, error: MachineLost) -> None:
        """Unless it is answered. That nobody asks for the error is no error: who asked may just have been cancelled."""
        if not self.answer.done():
            self.answer.set_exception(error)
            self.answer.exception()


class Wire(ABC):
    """All methods are for one event loop.

    `gone` says why there will never be an answer again; "" while there may be."""

    def __init__(
        self,
        name: str,
        become: Become | None,
        audit: Callable[[CommandRecord], None],
        answer_within: float,
        aftermath: Callable[[], Awaitable[None]],
    ) -> None:
        self.name = name
        self.audit = audit
        self.hello: Hello
        self.gone = ""
        self.is_root = False
        """Whether who answers is root: there is no need to become it."""
        self._become = become
        self._answer_within = answer_within
        self._aftermath = aftermath
        self._link: Link | None = None
        self._numbers = itertools.count(1)
        self._pending: dict[int, _Request] = {}
        self._loss: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def request(
        self,
        do: str,
        body: bytes = b"",
        *,
        repeatable: bool = True,
        finish: bool = False,
        cancel: bool = False,
        within: float = 0.0,
        **what: Any,
    ) -> Answer:
        """Ask for something. While the connection is lost it waits for another. A request that was on its way when it
        was lost is sent again if `repeatable`. `finish`: once sent, the answer is waited for though the caller be
        cancelled; `cancel`: then it is called off, and what comes of that is waited for. `within` are seconds that it
        may take in silence.

        Raises Refusal, with what the agent says, and MachineLost."""
        if what.get("become"):
            await self._have_root()
        loop = asyncio.get_running_loop()
        number = next(self._numbers)
        header = {"id": number, "do": do, **what}
        with anyio.CancelScope() as scope:
            request = _Request(header, body, repeatable, loop.create_future(), scope, within)
            scope.shield = finish and self._link is not None
            if self.gone:
                raise MachineLost(f"{self.name}: {self.gone}")
            self._pending[number] = request
            try:
                if self._link is not None:
                    self._send(request)
                await self._answered(request)
            except asyncio.CancelledError:
                if cancel:
                    await self._call_off(request)
                raise
            finally:
                self._pending.pop(number, None)
        answer = request.answer.result()
        if "error" in answer.header:
            raise Refusal(answer.header, answer.parts)
        return answer

    async def become_problem(self) -> str:
        """Why commands cannot be run as root, "" when they can."""
        try:
            await self._have_root()
        except InfrastructureError as error:
            return str(error)
        return ""

    async def lost(self) -> str:
        """Wait until the connection has ended; why it did."""
        return await asyncio.shield(self._loss)

    def abandon(self, why: str) -> None:
        """There will be no other connection: whatever waits fails with MachineLost, of services nobody sees the end."""
        self.gone = self.gone or why
        for request in self._pending.values():
            request.fail(MachineLost(f"{self.name}: {why}"))

    async def aclose(self) -> None:
        """Disconnect. What an attached agent started ends."""
        with anyio.CancelScope(shield=True):
            self.abandon("the connection was closed")
            if self._link is not None:
                await self._link.aclose()

    async def _open(self, transport: Transport) -> None:
        link = Link(transport)
        try:
            with anyio.fail_after(self._answer_within):
                await self._set_up(link)
        except BaseException as error:
            await link.aclose()
            if isinstance(error, TimeoutError):
                raise MachineLost(f"{self.name}: no agent answers within {self._answer_within:g} s") from error
            if type(error) is MachineLost:
                raise MachineLost(f"{self.name}: {error}") from error
            raise
        self._link = link
        self._loss = asyncio.get_running_loop().create_future()
        link.serve(self._heard, self._lost)

    async def _set_up(self, link: Link) -> None:
        """Greet, and whatever else must be said before there can be requests."""
        self.hello = Hello(**await link.greet())
        self.is_root = self.hello.uid == 0

    @abstractmethod
    async def _heard(self, frames: Iterable[Frame]) -> None:
        """What came; answers are for `_take`."""

    async def _lost(self, why: str) -> None:
        await self._aftermath()
        self._link = None
        for request in self._pending.values():
            request.scope.shield = False
            if request.sent and not request.repeatable:
                request.fail(MachineLost(f"{self.name}: {why}; what was asked may have been done or not"))
            request.sent = 0.0
            request.parts.clear()
        if self._final():
            self.abandon(why)
        if not self._loss.done():
            self._loss.set_result(why)

    def _final(self) -> bool:
        """Whether a lost connection is the end."""
        return True

    def _send(self, request: _Request) -> None:
        assert self._link is not None
        request.sent = time.monotonic()
        self._link.send(request.header, request.body)

    def _repeat(self) -> None:
        """Send what waits for a connection, in the order in which it was asked."""
        for _, request in sorted(self._pending.items()):
            if not request.sent and not request.answer.done():
                self._send(request)

    async def _answered(self, request: _Request) -> None:
        """Wait for the answer; one who owes it and gives no sign of life is let go."""
        while True:
            sign = max(request.sent + request.within, self._link.last_heard if self._link is not None else 0.0)
            quiet = time.monotonic() - sign if self._link is not None and request.sent else 0.0
            if quiet >= self._answer_within and self._link is not None:
                self._link.fail(f"no answer within {self._answer_within:g} s")
                quiet = 0.0
            done, _ = await asyncio.wait({request.answer}, timeout=self._answer_within - quiet)
            if done:
                return

    async def _call_off(self, request: _Request) -> None:
        if self._link is not None and request.sent:
            become = request.header.get("become", False)
            self._link.send({"do": "cancel", "target": request.header["id"], "become": become})
            request.within = 0.0
            with anyio.CancelScope(shield=True) as request.scope:
                await self._answered(request)

    async def _have_root(self) -> None:
        """Raises InfrastructureError when it cannot be."""
        if self.is_root:
            return
        if self._become is None:
            raise InfrastructureError(f"{self.name}: {self.hello.user} is not root, and nothing says how to become it")
        password = self._become.password
        try:
            await self.request("become", (password or "").encode(), password=password is not None)
        except Refusal as error:
            raise InfrastructureError(f"{self.name}: {error}") from error

    def _take(self, header: Header, body: bytes) -> None:
        request = self._pending.get(header["id"])
        if request is None:
            return  # whoever asked does not want to know any more
        if (part := header.get("part")) is not None:
            request.parts.setdefault(part, bytearray()).extend(body)
        elif not request.answer.done():
            request.answer.set_result(Answer(header, body, request.parts))
