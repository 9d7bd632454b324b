"""One HTTP/1.1 connection that carries one request at a time and is used again and again (RFC 9112)."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol, cast

from harness.load.flight import Cargo
from harness.load.parser import NOT_HTTP, parser_for

_HEAD_END = b"\r\n\r\n"
REPLY_KEPT = 64 << 10
"""Bytes of an answer's body that are kept; the rest is read and thrown away."""
LONGEST_HEAD = 64 << 10
"""Bytes that an answer's head may have."""


class Owner(Protocol):
    """Who is told of a connection's fate. Each call is the last one of its request."""

    def connected(self, connection: Connection) -> None: ...

    def answered(self, connection: Connection, status: int, body: bytes) -> None:
        """A whole answer. The connection is free, unless it is `closing`."""

    def lost(self, connection: Connection, why: str) -> None:
        """The connection is gone, with or without a request on it."""


class Connection(asyncio.Protocol):
    """`busy`: there is a request on it. `used`: it has carried others before. `server` and `cargo` are its owner's
    affair: whom it goes to, and what is on it."""

    __slots__ = (
        "_answer",
        "_body",
        "_first",
        "_kept",
        "_owner",
        "_parser",
        "_transport",
        "_why",
        "busy",
        "cargo",
        "closing",
        "server",
        "used",
    )

    def __init__(self, owner: Owner, server: Any) -> None:
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._parser = parser_for(self)
        self._answer: tuple[int, bytes] | None = None  # whole, to be told once all that came with it has been read
        self._body: list[bytes] = []
        self._kept = 0
        self._first = b""  # of the answer that is being read: its head at least
        self._why = ""
        self.server = server
        self.cargo: Cargo = ()
        self.busy = False
        self.closing = False
        self.used = False

    @property
    def unanswered(self) -> bool:
        """Whether nothing has come of an answer."""
        return not self._first

    def send(self, request: bytes) -> None:
        """Send this request. The connection must be open and not busy."""
        assert self._transport is not None
        self.busy = True
        self._parser.begin()
        self._transport.write(request)

    def abort(self, why: str = "") -> None:
        """Close it at once; `lost` is called soon."""
        self._why = self._why or why
        self.closing = True
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without saying so
        self._owner.connected(self)

    def data_received(self, data: bytes) -> None:
        if not self.busy:
            self.abort("it sent something that nobody had asked for")
            return
        if _HEAD_END not in self._first:
            self._first += data
            if len(self._first) > LONGEST_HEAD and _HEAD_END not in self._first:
                self.abort(f"the head of its answer has more than {LONGEST_HEAD} bytes")
                return
        try:
            self._parser.feed_data(data)
        except NOT_HTTP as error:
            self.abort(f"its answer is not HTTP: {error}")
        if self._answer is not None:
            self._tell(*self._answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closing = True
        if exc is None and not self._why and self.busy and _ends_with_connection(self._first):
            self.on_message_complete()
            if self._answer is not None:
                self._tell(*self._answer)
        why = self._why or (f"{type(exc).__name__}: {exc}" if exc else "it closed the connection")
        self._owner.lost(self, why)

    # harness.load.parser.Reader

    def on_message_begin(self) -> None:
        if self._answer is not None:
            self.abort("it answers more often than it was asked")

    def on_body(self, body: bytes) -> None:
        if self._kept < REPLY_KEPT:
            self._body.append(body[: REPLY_KEPT - self._kept])
            self._kept += len(body)

    def on_message_complete(self) -> None:
        parser = self._parser
        status = parser.get_status_code()
        if status == 101:
            self.abort("it switches to another protocol")
        if status < 200:
            self._first = b""
            return  # an interim answer (RFC 9110, 15.2): the real one follows
        if self._answer is not None:
            return
        body = self._body
        self._answer = status, body[0] if len(body) == 1 else b"".join(body)
        if body:
            self._body, self._kept = [], 0
        if not self.closing and not parser.should_keep_alive():
            self.abort("the server closes it after each answer")

    def _tell(self, status: int, body: bytes) -> None:
        """What came is whole. Only now may another request go out: what was read with it must not be its answer."""
        self._answer = None
        self.busy = False
        self.used = True
        self._first = b""
        self._owner.answered(self, status, body)


def _ends_with_connection(answer: bytes) -> bool:
    """Whether this answer, of which this is the beginning, is as long as the connection lasts (RFC 9112, 6.3): it has a
    head, which tells no other length."""
    head, end, _ = answer.partition(_HEAD_END)
    names = {line.split(b":")[0].strip().lower() for line in head.split(b"\r\n")[1:]}
    return bool(end) and not names & {b"content-length", b"transfer-encoding"}
