"""A server that answers at once, but for a time in which it answers nothing; and a client that hardly notices, because
it waits for each answer before it asks again (coordinated omission: Tene, "How NOT to Measure Latency", 2013)."""

from __future__ import annotations

import asyncio
import http.client
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast
from urllib.parse import urlsplit

import httptools

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
PATIENCE = 30.0


@contextmanager
def stalling_server(after: float, stall: float) -> Iterator[str]:
    """The URL of such a server, in a process of its own, which ends with the context. It answers any request with
    status 200 and `{}`. So many seconds after its first one it stalls; what has come meanwhile is answered when it goes
    on, `stall` seconds later. Raises RuntimeError when it does not start."""
    argv = [sys.executable, "-P", "-m", __name__, str(after), str(stall)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().strip()
            if not port:
                raise RuntimeError("the server did not start")
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.kill()


def closed_loop(url: str, seconds: float) -> list[float]:
    """Seconds that each answer took, asked for one after another on one connection."""
    latencies = []
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE)
    try:
        now = time.monotonic()
        end = now + seconds
        while now < end:
            sent = now
            connection.request("POST", urlsplit(url).path, b"{}")
            connection.getresponse().read()
            now = time.monotonic()
            latencies.append(now - sent)
    finally:
        connection.close()
    return latencies


class _Stall:
    """When it is, and who waits for its end."""

    def __init__(self, after: float, seconds: float) -> None:
        self._after = after
        self._seconds = seconds
        self._began = False
        self._stalled = False
        self._held: list[_Connection] = []

    def asked(self, connection: _Connection) -> None:
        if not self._began:
            self._began = True
            asyncio.get_running_loop().call_later(self._after, self._begin)
        if self._stalled:
            self._held.append(connection)
        else:
            connection.answer()

    def _begin(self) -> None:
        self._stalled = True
        asyncio.get_running_loop().call_later(self._seconds, self._end)

    def _end(self) -> None:
        self._stalled = False
        held, self._held = self._held, []
        for connection in held:
            connection.answer()


class _Connection(asyncio.Protocol):
    def __init__(self, stall: _Stall) -> None:
        self._stall = stall
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_message_complete(self) -> None:
        self._stall.asked(self)

    def answer(self) -> None:
        self._transport.write(ANSWER)


async def _serve(after: float, stall: float) -> None:
    """Until stdin is closed: so it ends with whoever started it, however that ends."""
    loop = asyncio.get_running_loop()
    about = _Stall(after, stall)
    server = await loop.create_server(lambda: _Connection(about), "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    ended = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(ended), sys.stdin)
    await ended.read()


if __name__ == "__main__":
    asyncio.run(_serve(*map(float, sys.argv[1:])))
