"""Senders against servers that answer too much, too long, something else, or not even take the connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from harness.load.arrivals import Profile, Segment, constant
from harness.load.connection import LONGEST_HEAD
from harness.load.job import Job, Start, Taken
from harness.load.senders import senders
from harness.load.wire import Fate
from tests.load.servers import Heard, Request, answer, run, serving, shots, soon, target

pytestmark = pytest.mark.anyio

BURST = Profile((Segment(50e-6, 1e6, 1e6), Segment(1.0, 0.0, 0.0)))
"""Fifty at once."""
ENDLESS = b"HTTP/1.1 200 X\r\nX: " + b"x" * 3 * LONGEST_HEAD


@asynccontextmanager
async def never_speaking() -> AsyncIterator[int]:
    """A port that takes connections and says nothing."""
    ended = asyncio.Event()

    async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    server = await asyncio.start_server(says_nothing, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        ended.set()
        server.close()


@pytest.mark.parametrize("more", [answer(body=b"nobody asked"), b"HTTP/1.1 200 X\r\nContent-Le"])
async def test_what_comes_behind_an_answer_is_nobodys(more: bytes) -> None:
    async def says_too_much(request: Request) -> bytes:
        return answer(body=b"to " + request.body) + more

    async with serving(says_too_much) as server:
        # Whatever is answered is handed back, so that it can be looked at.
        job = Job((target(server.port),), Taken((201,)), each=True, connections=1)
        heard = await run(job, Start(0.0, BURST), shots(50))
    assert {result.serial: result.reply for result in heard.results} == {n: b"to %d" % n for n in range(50)}
    assert server.connections >= 50, "a connection that says too much is not used again"


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (ENDLESS, f"the head of its answer has more than {LONGEST_HEAD} bytes"),
        (b"HTTP/1.1 101 X\r\nUpgrade: y\r\nConnection: Upgrade\r\n\r\n", "it switches to another protocol"),
    ],
)
async def test_what_is_no_answer_is_told(reply: bytes, why: str) -> None:
    async def answers_so(request: Request) -> bytes:
        return reply

    async with serving(answers_so) as server:
        heard = await run(Job((target(server.port),), each=True), Start(0.0, constant(50, 0.1)), shots(5))
    assert [result.fate for result in heard.results] == [Fate.LOST] * 5
    assert heard.tally.reasons == {why: 5}


async def test_who_is_never_connected_fails_in_time_and_holds_nobody_up() -> None:
    """A handshake that does not end: neither the senders' beginning nor what is sent waits longer than it may."""
    async with never_speaking() as port:
        job = Job((target(port, tls=True),), timeout=0.5, each=True, connections=2)
        began = time.monotonic()
        async with senders(job) as those:
            assert those.unreachable == ("n: no connection within 0.5 s",)
            heard = Heard()
            await those.feed(shots(10))
            await those.start(Start(soon(), constant(50, 0.2)))
            await those.listen(lambda _, r: heard.results.extend(r), lambda _, told: heard.told.append(told))
        assert time.monotonic() - began < 15
    assert [result.fate for result in heard.results] == [Fate.FAILED] * 10
    assert set(heard.tally.reasons) <= {"no connection in time", "no connection within 0.5 s"}


@pytest.mark.parametrize("idempotent", [True, False])
async def test_who_closes_a_connection_that_is_kept_gets_the_request_again_if_that_is_harmless(
    idempotent: bool,
) -> None:
    """Each connection's second request is not answered."""

    seen: set[int] = set()

    async def answers_once(request: Request) -> bytes | None:
        if request.connection in seen:
            return None
        seen.add(request.connection)
        return answer()

    async with serving(answers_once) as server:
        job = Job((target(server.port),), each=True, connections=1, idempotent=idempotent)
        heard = await run(job, Start(0.0, constant(50, 0.4)), shots(20))
    fates = [result.fate for result in heard.results]
    assert len(fates) == 20
    assert fates.count(Fate.LOST) == (0 if idempotent else 10)
    assert fates.count(Fate.TAKEN) == (20 if idempotent else 10)


async def test_who_never_answers_gets_no_request_twice() -> None:
    async def hangs_up(request: Request) -> bytes | None:
        return None

    async with serving(hangs_up) as server:
        job = Job((target(server.port),), each=True, idempotent=True)
        heard = await run(job, Start(0.0, constant(50, 0.2)), shots(10))
    assert [result.fate for result in heard.results] == [Fate.LOST] * 10
    assert len(server.requests) == 10


async def test_a_pause_does_not_eat_the_warm_up() -> None:
    async def at_once(request: Request) -> bytes:
        return answer()

    async with serving(at_once) as server:
        heard = Heard()
        async with senders(Job((target(server.port),), repeat=b"")) as those:
            await those.start(replace(Start(soon(), constant(50, 4.0)), warm_up=1.0))

            async def pause() -> None:
                while len(server.requests) < 10:
                    await asyncio.sleep(0.01)
                await those.pause()
                await asyncio.sleep(1.5)
                await those.resume()

            task = asyncio.create_task(pause())
            await those.listen(lambda _, r: None, lambda _, told: heard.told.append(told))
            await task
    assert heard.tally.warming == 50
