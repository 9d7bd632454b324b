"""One server as a sender sees it: its connections, who waits for one, and whether it is believed to answer."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from harness.load.connection import Connection
from harness.load.flight import Cargo, body_of
from harness.load.job import Target

if TYPE_CHECKING:
    from harness.load.sender import Sender

BACK_OFF, LONGEST_BACK_OFF = 0.1, 2.0
"""Seconds after which a server that could not be connected to is tried again: doubled each time, up to the longest."""


class Server:
    """`avoided`: others are asked first, because it could not be reached, or because somebody says so."""

    def __init__(self, number: int, target: Target, sender: Sender, loop: asyncio.AbstractEventLoop) -> None:
        self.number = number
        self.target = target
        self.avoided = False
        self._sender = sender
        self._loop = loop
        self._head = target.head + b"\r\nContent-Length: "
        self._tls = _context(target)
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._waiting: deque[Cargo] = deque()
        self._opening: set[asyncio.Task[None]] = set()
        self._opening_now = 0
        self._failures = 0
        self._retry_at = 0.0
        self._trusted = True
        self._why = ""

    async def warm(self, connections: int) -> str:
        """Open so many. Returns why that was not possible, "" if it was."""
        self._why = ""
        self._opening_now += connections
        await asyncio.gather(*(self._open() for _ in range(connections)))
        return self._why

    def send(self, cargo: Cargo) -> None:
        """Send it on a free connection, or on a new one once that is there."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if not connection.closing:
                self._put(cargo, connection)
                return
        self._waiting.append(cargo)
        self._begin_open()

    def _begin_open(self) -> None:
        self._opening_now += 1
        task = self._loop.create_task(self._open())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def _put(self, cargo: Cargo, connection: Connection) -> None:
        for flight in cargo:
            flight.connection = connection
            flight.went_out = True
        connection.cargo = cargo
        body = body_of(cargo)
        connection.send(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))

    async def _open(self) -> None:
        target, timeout = self.target, self._sender.job.timeout
        try:
            # create_connection tries all addresses of a name in turn. Nobody waits for it any longer than that.
            async with asyncio.timeout(timeout):
                await self._loop.create_connection(
                    lambda: Connection(self._sender, self),
                    target.host,
                    target.port,
                    ssl=self._tls,
                    server_hostname=(target.server_name or target.host) if self._tls else None,
                )
        except TimeoutError:
            self._failed(f"no connection within {timeout:g} s")
        except (OSError, UnicodeError) as error:  # a name that cannot be one is a UnicodeError
            self._failed(f"{type(error).__name__}: {error}")

    def connected(self, connection: Connection) -> None:
        """A new connection is there: for whoever waits longest, else for later."""
        self._all.add(connection)
        self._opening_now -= 1
        self._failures = 0
        self.avoided = not self._trusted
        self.free(connection)

    def free(self, connection: Connection) -> None:
        """A connection may be used again."""
        while self._waiting:
            if cargo := tuple(flight for flight in self._waiting.popleft() if not flight.done):
                self._put(cargo, connection)
                return
        self._idle.append(connection)

    def lost(self, connection: Connection) -> None:
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if self._waiting and not self._all and not self._opening_now:
            self._begin_open()  # those who waited for one of them

    def retry_due(self, now: float) -> bool:
        """Whether it is time to see if it answers again. Once: the next one has to wait for what comes of it."""
        if self._trusted and now >= self._retry_at:
            self._retry_at = now + LONGEST_BACK_OFF
            return True
        return False

    def redirect(self, host: str, port: int, trusted: bool) -> None:
        if (host, port) != (self.target.host, self.target.port):
            self.target = replace(self.target, host=host, port=port)
            for connection in self._idle:
                connection.abort("it is at another address now")
            self._idle.clear()
        if trusted != self._trusted:
            self._trusted = trusted
            self.avoided = not trusted
            self._retry_at = 0.0

    def close(self) -> None:
        self._waiting.clear()
        for task in self._opening:
            task.cancel()
        for connection in list(self._all):
            connection.abort()

    def _failed(self, why: str) -> None:
        self._why = why
        self._opening_now -= 1
        if self._all or self._opening_now:
            # Others are there, or on their way: one less is waited for.
            if self._waiting and len(self._waiting) > self._opening_now + len(self._all):
                self._sender.unreachable(self._waiting.popleft(), why)
            return
        self.avoided = True
        self._failures += 1
        self._retry_at = time.monotonic() + min(LONGEST_BACK_OFF, BACK_OFF * 2 ** min(self._failures - 1, 10))
        waiting, self._waiting = self._waiting, deque()
        for cargo in waiting:
            self._sender.unreachable(cargo, why)


def _context(target: Target) -> ssl.SSLContext | None:
    if not target.tls:
        return None
    context = ssl.create_default_context(cadata=target.ca or None)
    if not target.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
