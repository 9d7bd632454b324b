"""A small HTTP server whose answers a test decides, and senders that are listened to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from harness.load.job import Job, Start, Target, head
from harness.load.senders import senders
from harness.load.tally import Tally, Told
from harness.load.wire import NO_LANE, Result, Shot

Answer = Callable[["Request"], Awaitable[bytes | None]]


@dataclass(frozen=True)
class Request:
    """What came in: in which connection (from 0), the how manieth of the server, its first line, headers, body."""

    connection: int
    number: int
    line: str
    headers: dict[str, str]
    body: bytes


def answer(status: int = 200, body: bytes = b"ok", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


@dataclass
class Server:
    """Answers each request by `handler`; None closes the connection."""

    handler: Answer
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    listening: asyncio.Server | None = None
    _writers: dict[int, asyncio.StreamWriter] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def refuse(self) -> None:
        """Take no new connection."""
        assert self.listening is not None
        self.listening.close()

    def hang_up(self, connection: int) -> None:
        """Close this connection."""
        self._writers[connection].close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        finally:
            self._tasks.discard(task)

    async def end(self) -> None:
        """Close every connection, and let go of those whose answers never come."""
        for writer in self._writers.values():
            writer.close()
        for task in (tasks := tuple(self._tasks)):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = self.connections
        self.connections += 1
        self._writers[connection] = writer
        try:
            while line := await reader.readline():
                headers = {}
                while (header := (await reader.readline()).decode().strip()) != "":
                    name, _, value = header.partition(": ")
                    headers[name.lower()] = value
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                request = Request(connection, len(self.requests), line.decode().strip(), headers, body)
                self.requests.append(request)
                reply = await self.handler(request)
                if reply is None:
                    return
                writer.write(reply)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def serving(handler: Answer, host: str = "127.0.0.1", **kwargs: object) -> AsyncIterator[Server]:
    server = Server(handler)
    listening = await asyncio.start_server(server.serve, host, 0, **kwargs)  # type: ignore[arg-type]
    server.listening = listening
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        await server.end()


def target(port: int, name: str = "n", path: str = "/", **options: object) -> Target:
    return Target(name, "127.0.0.1", port, head("POST", path, "127.0.0.1"), **options)  # type: ignore[arg-type]


@dataclass
class Heard:
    """All that senders told, and when they began."""

    begin: float = 0.0
    results: list[Result] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)

    @property
    def tally(self) -> Tally:
        total = Tally()
        for told in self.told:
            total.add(told.tally)
        return total


async def run(job: Job, start: Start, shots: list[Shot] | None = None, count: int = 1) -> Heard:
    """The whole of a job, begun once its senders are there: whatever `start` says."""
    heard = Heard()
    async with senders(job, count) as those:
        await those.feed(shots or [])
        heard.begin = soon()
        await those.start(replace(start, at=heard.begin))
        await those.listen(lambda _, results: heard.results.extend(results), lambda _, told: heard.told.append(told))
    return heard


def soon() -> float:
    """When senders that are there are to begin."""
    return time.monotonic() + 0.1


def shots(count: int, lanes: int = 0) -> list[Shot]:
    """Numbered ones, of no lane or of these in turn."""
    return [Shot(n, n % lanes if lanes else NO_LANE, 0, b"%d" % n) for n in range(count)]


async def at_once(request: Request) -> bytes:
    return answer()


def balances(heard: Heard, tally: Tally | None = None) -> None:
    """The two sums that always hold."""
    t = tally or heard.tally
    assert t.offered == t.started + t.dropped + t.unready + t.behind + t.untold
    in_flight = heard.told[-1].in_flight
    assert t.started == t.taken + t.read + t.timed_out + t.lost + t.failed + t.cut_off + in_flight
