"""What Python can do at best: httptools over a bare asyncio.Protocol on uvloop, a request that is ready before, and
nothing of what a load generator is for but latencies."""

from __future__ import annotations

import asyncio
import time
from array import array
from typing import cast
from urllib.parse import urlsplit

import httptools
import uvloop
from closed_loop import BODY, CONNECTIONS, HEADERS, SECONDS, URL, tell

PARTS = urlsplit(URL)
ADDRESS, PORT = PARTS.hostname or "", PARTS.port or 80
HEAD = [f"POST {PARTS.path} HTTP/1.1", f"Host: {PARTS.netloc}", f"Content-Length: {len(BODY)}"]
REQUEST = "\r\n".join([*HEAD, *(f"{name}: {value}" for name, value in HEADERS.items()), "", ""]).encode() + BODY


class Connection(asyncio.Protocol):
    def __init__(self, end: float) -> None:
        self.latencies = array("d")
        self.errors = 0
        self.ended = asyncio.get_running_loop().create_future()
        self._end = end
        self._parser = httptools.HttpResponseParser(self)
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send(time.perf_counter())

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        if self._parser.get_status_code() == 200:
            self.latencies.append(now - self._sent)
        else:
            self.errors += 1
        if now < self._end:
            self._send(now)
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.errors += exc is not None
        self.ended.set_result(None)

    def _send(self, now: float) -> None:
        self._sent = now
        self._transport.write(REQUEST)


async def main() -> None:
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    made = [
        await loop.create_connection(lambda: Connection(began + SECONDS), ADDRESS, PORT) for _ in range(CONNECTIONS)
    ]
    connections = [connection for _, connection in made]
    await asyncio.gather(*(connection.ended for connection in connections))
    seconds = time.perf_counter() - began
    latencies = array("d")
    for connection in connections:
        latencies.extend(connection.latencies)
    tell(latencies, sum(connection.errors for connection in connections), seconds)


uvloop.run(main())
