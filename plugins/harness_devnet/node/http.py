"""A minimal HTTP/1.1 server over asyncio streams: JSON in, JSON out, keep-alive, limits. RFC 9112 as far as an API
with Content-Length bodies needs it; transfer codings are refused."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from .codec import encode

log = logging.getLogger("http")

MAX_HEAD = 16 << 10
MAX_CONNECTIONS = 512
IDLE = 75.0
"""Seconds for which a connection may stay without a request, and a request may take to arrive."""

LINGER = 1.0
"""Seconds for which the rest of a refused request is read."""


class HttpError(Exception):
    """An answer other than 200, with its reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


@dataclass(frozen=True, slots=True)
class Request:
    """`path` is decoded and split at slashes; `query` has the last value of each name."""

    method: str
    path: tuple[str, ...]
    query: dict[str, str]
    body: bytes
    keep_alive: bool


Handler = Callable[[Request], Awaitable[Any]]
"""Gives the JSON value to answer with, or raises HttpError."""


def report_failure(task: asyncio.Task[None]) -> None:
    """For tasks that nobody awaits: one that failed is a defect, and goes to the loop's exception handler."""
    if not task.cancelled() and (error := task.exception()) is not None:
        task.get_loop().call_exception_handler({"message": "a task failed", "exception": error})


class Server:
    """Serves one handler."""

    def __init__(self, handler: Handler, max_body: int) -> None:
        self._handler = handler
        self._max_body = max_body
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self, host: str, port: int) -> None:
        """Raises OSError when the port is taken."""
        self._server = await asyncio.start_server(self._connected, host, port, limit=MAX_HEAD, backlog=256)

    def close(self) -> None:
        """Stop listening and end all connections, also those that wait."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= MAX_CONNECTIONS:
            writer.close()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(report_failure)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                try:
                    async with asyncio.timeout(IDLE):
                        request = await self._read(reader)
                except HttpError as error:
                    await _answer(writer, error.status, {"error": error.reason}, keep_alive=False)
                    await _linger(reader, writer)
                    return
                if request is None:
                    return
                status, value = await self._handle(request)
                await _answer(writer, status, value, keep_alive=request.keep_alive)
                if not request.keep_alive:
                    return
        except (OSError, asyncio.IncompleteReadError):
            log.debug("a client went away")  # in the middle of a request, or idle for too long (TimeoutError)
        finally:
            writer.close()

    async def _handle(self, request: Request) -> tuple[int, Any]:
        try:
            return 200, await self._handler(request)
        except HttpError as error:
            return error.status, {"error": error.reason}

    async def _read(self, reader: asyncio.StreamReader) -> Request | None:
        """The next request; None when the client has closed."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if error.partial.strip():
                raise HttpError(400, "the request ends in its head") from None
            return None
        except asyncio.LimitOverrunError:
            raise HttpError(431, f"the request's head exceeds {MAX_HEAD} bytes") from None
        method, target, version, headers = _parse_head(head)
        if "transfer-encoding" in headers:
            raise HttpError(501, "transfer codings are not supported")
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit() and len(length) < 16):
            raise HttpError(400, "bad Content-Length")
        if int(length) > self._max_body:
            raise HttpError(413, f"the body exceeds {self._max_body} bytes")
        body = await reader.readexactly(int(length))
        try:
            url = urlsplit(target)
        except ValueError:
            raise HttpError(400, "bad request target") from None
        keep_alive = headers.get("connection", "").lower() != "close" and version == "HTTP/1.1"
        path = tuple(unquote(part) for part in url.path.split("/") if part)
        return Request(method, path, dict(parse_qsl(url.query)), body, keep_alive)


def _parse_head(head: bytes) -> tuple[str, str, str, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    parts = first.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise HttpError(400, "not an HTTP/1.1 request")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or not name or name != name.strip():
            raise HttpError(400, "bad header")
        if name in headers and name == "content-length":
            raise HttpError(400, "two Content-Lengths")
        headers[name] = value.strip()
    return parts[0], parts[1], parts[2], headers


async def _linger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read what the client still sends: closing on it would reset the connection, and the answer with it
    (RFC 9112 §9.6)."""
    writer.write_eof()
    async with asyncio.timeout(LINGER):
        while await reader.read(MAX_HEAD):
            pass


async def _answer(writer: asyncio.StreamWriter, status: int, value: Any, *, keep_alive: bool) -> None:
    body = value if isinstance(value, bytes) else encode(value)
    writer.write(
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"Connection: {'keep-alive' if keep_alive else 'close'}\r\n\r\n".encode("latin-1")
        + body
    )
    await writer.drain()
