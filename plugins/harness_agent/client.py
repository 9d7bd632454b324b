"""The controller's end of an agent: many requests at once, over one connection that may be replaced by another."""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.to_thread

from harness.api import Access, CommandRecord, InfrastructureError, MachineLost, ServiceSpec
from harness_agent.link import Link, Refusal
from harness_agent.remote.frames import Frame, Header
from harness_agent.service import AgentService, append, exit_of, unseen
from harness_agent.transport import Transport
from harness_agent.values import Become, Hello

ANSWER_WITHIN = 60.0
"""Seconds without a sign of life after which a machine that owes an answer counts as lost."""
UNAUDITED = Access().audit


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


class AgentClient:
    """Made by `attach` (or by `keep`, see keeper.py). All methods are for one event loop.

    `gone` says why there will never be an answer again; "" while there may be."""

    def __init__(
        self, name: str, become: Become | None, audit: Callable[[CommandRecord], None], answer_within: float
    ) -> None:
        self.name = name
        self.hello: Hello
        self.gone = ""
        self._become = become
        self.audit = audit
        self._answer_within = answer_within
        self._link: Link | None = None
        self._numbers = itertools.count(1)
        self._pending: dict[int, _Request] = {}
        self._services: dict[str, AgentService] = {}
        self._hearers: dict[str, Callable[[str], None]] = {}
        self._loss: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @classmethod
    async def attach(
        cls,
        transport: Transport,
        name: str,
        *,
        become: Become | None = None,
        audit: Callable[[CommandRecord], None] = UNAUDITED,
        answer_within: float = ANSWER_WITHIN,
    ) -> AgentClient:
        """An agent that ends with its connection, and all that it started with it. `name` is the machine's, `become`
        how to become root where one is not; None: one may not. Raises MachineLost, the transport being closed."""
        client = cls(name, become, audit, answer_within)
        await client._open(transport)
        return client

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
                raise MachineLost(self.gone)
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
            raise Refusal(answer.header)
        return answer

    def send(self, do: str, **what: Any) -> None:
        """Say something that needs no answer, if there is anybody to hear it."""
        if self._link is not None:
            self._link.send({"do": do, **what})

    async def spawn(self, spec: ServiceSpec, *, hear: Callable[[str], None] | None = None, **what: Any) -> AgentService:
        """Have a service started; `what` goes into the request. With `hear` its stdin and stdout are ours, in lines.
        Raises InfrastructureError."""
        key = uuid.uuid4().hex
        service = self._services[key] = AgentService(self, spec, key, streamed="log" not in what)
        if hear is not None:
            self._hearers[key] = hear
        # Known before it is asked for: it may have ended before its caller has heard that it started.
        try:
            answer = await self.request(
                "spawn",
                finish=True,
                key=key,
                name=spec.name,
                argv=list(spec.argv),
                cwd=str(spec.cwd),
                env=dict(spec.env),
                attach=hear is not None,
                follow=service.streamed,
                **what,
            )
        except BaseException as error:
            self._forget(key)
            service.ended(unseen())
            if isinstance(error, Refusal):
                raise InfrastructureError(f"{spec.name} cannot be started: {error}") from error
            raise
        service.started(answer.header["pid"], answer.header["start"])
        return service

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
        """There will be no other connection: whatever waits fails with MachineLost."""
        self.gone = self.gone or why
        for request in self._pending.values():
            if not request.answer.done():
                request.answer.set_exception(MachineLost(f"{self.name}: {why}"))
        services, self._services = self._services, {}
        for service in services.values():
            service.ended(unseen())
            service.stir()

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
            if isinstance(error, MachineLost):
                raise MachineLost(f"{self.name}: {error}") from error
            raise
        self._link = link
        self._loss = asyncio.get_running_loop().create_future()
        link.serve(self._heard, self._lost)

    async def _set_up(self, link: Link) -> None:
        self.hello = Hello(**await link.greet())

    def _lost(self, why: str) -> None:
        self._link = None
        for request in self._pending.values():
            request.scope.shield = False
            if request.sent and not request.repeatable and not request.answer.done():
                request.answer.set_exception(
                    MachineLost(f"{self.name}: {why}; what was asked may have been done or not")
                )
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
        if self.hello.uid == 0:
            return
        if self._become is None:
            raise InfrastructureError(f"{self.name}: {self.hello.user} is not root, and nothing says how to become it")
        password = self._become.password
        try:
            await self.request("become", (password or "").encode(), password=password is not None)
        except Refusal as error:
            raise InfrastructureError(f"{self.name}: {error}") from error

    async def _heard(self, frames: Iterable[Frame]) -> None:
        """Pieces of logs that come together are written together; the news of an end comes after its last words."""
        pieces: list[tuple[AgentService, bytes]] = []
        for header, body in frames:
            event = header.get("event")
            if event == "log":
                service = self._services.get(header["key"])
                if service is not None and (content := service.take(header["offset"], body)):
                    pieces.append((service, content))
                continue
            await self._write(pieces)
            pieces = []
            if event is not None:
                self._happened(event, header)
            elif (request := self._pending.get(header.get("id", 0))) is not None:
                self._take(request, header, body)
        await self._write(pieces)

    async def _write(self, pieces: list[tuple[AgentService, bytes]]) -> None:
        if pieces:
            with anyio.CancelScope(shield=True):
                failed = await anyio.to_thread.run_sync(append, [(service.spec.log, text) for service, text in pieces])
            for service, content in pieces:
                service.grown(len(content), failed.get(service.spec.log, ""))

    def _happened(self, event: str, header: Header) -> None:
        if event == "exit" and (service := self._services.get(header["key"])) is not None:
            service.ended(exit_of(header))
        elif event == "said" and (hear := self._hearers.get(header["key"])) is not None:
            hear(header["line"])
        elif event == "audit":
            self.audit(
                CommandRecord(
                    self.name,
                    tuple(header["argv"]),
                    header["returncode"],
                    header["seconds"],
                    header["user"],
                    header["error"],
                )
            )

    def _take(self, request: _Request, header: Header, body: bytes) -> None:
        if (part := header.get("part")) is not None:
            request.parts.setdefault(part, bytearray()).extend(body)
        elif not request.answer.done():
            request.answer.set_result(Answer(header, body, request.parts))

    def _forget(self, key: str) -> None:
        self._services.pop(key, None)
        self._hearers.pop(key, None)
