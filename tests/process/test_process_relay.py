"""The link relay: it passes on, and a cut link is a partition: silent, never closed, never refused; and mends."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import signal
import socket
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.abc
import pytest

from harness.api import CUT, Deployment, FaultError, Flow, Link, LinkShape

pytestmark = [pytest.mark.anyio, pytest.mark.real]

BA, CA = Link("b", "a"), Link("c", "a")
NEVER = 0.3
"""Seconds in which something that must not happen has not happened; within this machine it would take none."""


@asynccontextmanager
async def network(kit: Any) -> AsyncIterator[tuple[Deployment, Any]]:
    """b and c dial a, which is a listener of this test."""
    async with kit.deploy("a", "b", "c", links=[BA, CA], relay="on") as deployment:
        listener = await anyio.create_tcp_listener(
            local_host="127.0.0.1", local_port=deployment.placements["a"].ports["p2p"]
        )
        async with listener:
            yield deployment, listener


async def dial(deployment: Deployment, link: Link) -> anyio.abc.SocketStream:
    address = deployment.link_address(link)
    return await anyio.connect_tcp(address.host, address.port)


async def connection(deployment: Deployment, listener: Any, link: Link) -> tuple[Any, Any]:
    """Both ends of a new connection over this link. (`listener` is an anyio MultiListener of one.)"""
    near = await dial(deployment, link)
    with anyio.fail_after(10):
        far = await listener.listeners[0].accept()
    return near, far


async def says_nothing(stream: Any) -> bool:
    with anyio.move_on_after(NEVER):
        await stream.receive()
        return False
    return True


async def test_each_link_has_an_address_of_its_own(kit: Any) -> None:
    async with network(kit) as (deployment, _):
        one, other = deployment.link_address(BA), deployment.link_address(CA)
        assert one != other
        assert deployment.placements["a"].ports["p2p"] not in (one.port, other.port)


async def test_big_transfers_both_ways_at_once(kit: Any) -> None:
    blob = random.Random(1).randbytes(1024 * 1024)
    times = 64
    expected = hashlib.sha256(blob * times).hexdigest()
    digests = []

    async def send(stream: Any) -> None:
        for _ in range(times):
            await stream.send(blob)
        await stream.send_eof()

    async def receive(stream: Any) -> None:
        digest = hashlib.sha256()
        async for data in stream:
            digest.update(data)
        digests.append(digest.hexdigest())

    async with network(kit) as (deployment, listener):
        near, far = await connection(deployment, listener, BA)
        async with near, far, anyio.create_task_group() as tasks:
            for end in (near, far):
                tasks.start_soon(send, end)
                tasks.start_soon(receive, end)
    assert digests == [expected, expected]


async def test_half_close(kit: Any) -> None:
    async with network(kit) as (deployment, listener):
        near, far = await connection(deployment, listener, BA)
        async with near, far:
            await near.send(b"question")
            await near.send_eof()
            assert await far.receive() == b"question"
            with pytest.raises(anyio.EndOfStream):
                await far.receive()
            await far.send(b"answer")
            assert await near.receive() == b"answer"
            await far.send_eof()
            with pytest.raises(anyio.EndOfStream):
                await near.receive()


async def test_a_reset_is_passed_on(kit: Any) -> None:
    async with network(kit) as (deployment, listener):
        near, far = await connection(deployment, listener, BA)
        async with near, far:
            reset(far)
            with pytest.raises(anyio.BrokenResourceError) as caught:
                await near.receive()
            assert isinstance(caught.value.__cause__, ConnectionResetError)


async def test_a_target_that_does_not_listen_resets_its_dialler(kit: Any) -> None:
    async with kit.deploy("a", "b", links=[BA], relay="on") as deployment:
        address = deployment.link_address(BA)
        with socket.socket() as dialler:
            dialler.setblocking(False)
            dialler.connect_ex((address.host, address.port))
            with anyio.fail_after(10):
                await anyio.wait_readable(dialler)
            with pytest.raises(ConnectionResetError):
                dialler.recv(1)


async def test_a_cut_link_is_silent_and_loses_nothing(kit: Any) -> None:
    async with network(kit) as (deployment, listener):
        near, far = await connection(deployment, listener, BA)
        async with near, far:
            await near.send(b"before")
            assert await far.receive() == b"before"
            await deployment.shape_links(cutting({BA}))
            await near.send(b"there")
            await far.send(b"back")
            assert await says_nothing(far) and await says_nothing(near)
            await deployment.shape_links({})
            with anyio.fail_after(10):
                assert await far.receive() == b"there"
                assert await near.receive() == b"back"


@pytest.mark.parametrize("how", ["end", "reset"])
async def test_the_end_of_a_connection_is_not_seen_through_a_cut(kit: Any, how: str) -> None:
    async with network(kit) as (deployment, listener):
        near, far = await connection(deployment, listener, BA)
        async with near, far:
            await deployment.shape_links(cutting({BA}))
            if how == "end":
                await far.aclose()
            else:
                reset(far)
            assert await says_nothing(near)
            await deployment.shape_links({})
            with anyio.fail_after(10), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)) as caught:
                await near.receive()
            assert caught.type is (anyio.EndOfStream if how == "end" else anyio.BrokenResourceError)


async def test_a_dial_over_a_cut_link_hangs_and_connects_after_mending(kit: Any) -> None:
    async with network(kit) as (deployment, listener):
        await deployment.shape_links(cutting({BA}))
        address = deployment.link_address(BA)
        with socket.socket() as dialler:
            dialler.setblocking(False)
            assert dialler.connect_ex((address.host, address.port)) == errno.EINPROGRESS
            with anyio.move_on_after(NEVER):
                await anyio.wait_writable(dialler)
                pytest.fail("it was answered")
            with pytest.raises(OSError):
                dialler.getpeername()
            await deployment.shape_links({})
            with anyio.fail_after(10):  # the kernel dials again after 1 s, 2 s, 4 s …
                await anyio.wait_writable(dialler)
                assert dialler.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
                far = await listener.listeners[0].accept()
            dialler.send(b"at last")
            async with far:
                assert await far.receive() == b"at last"


async def test_only_what_is_asked_for_is_cut(kit: Any) -> None:
    async with network(kit) as (deployment, listener):
        b, ab = await connection(deployment, listener, BA)
        c, ac = await connection(deployment, listener, CA)
        owed = {BA: b"", CA: b""}  # what was sent and has not arrived yet
        async with b, ab, c, ac:
            for number, cut in enumerate(({BA}, {CA}, {BA, CA}, {BA}, set())):
                await deployment.shape_links(cutting(cut))
                for link, near, far in ((BA, b, ab), (CA, c, ac)):
                    await near.send(bytes([number]))
                    owed[link] += bytes([number])
                    if link in cut:
                        assert await says_nothing(far)
                        continue
                    with anyio.fail_after(10):
                        while owed[link]:
                            got = await far.receive()
                            assert owed[link].startswith(got)
                            owed[link] = owed[link][len(got) :]


async def test_a_sender_into_a_cut_link_comes_to_a_stop(kit: Any) -> None:
    """As its window closes: the relay swallows nothing."""
    async with network(kit) as (deployment, listener):
        near, far = await connection(deployment, listener, BA)
        sent = 0
        async with near, far:
            await deployment.shape_links(cutting({BA}))
            while True:
                with anyio.move_on_after(NEVER) as waiting:
                    await near.send(b"x" * 65536)
                sent += 65536
                if waiting.cancelled_caught:
                    break
                assert sent < 2**30
            await deployment.shape_links({})
            got = 0
            with anyio.fail_after(10):
                while got < sent - 65536:
                    got += len(await far.receive())


THERE, BACK = Flow("b", "a"), Flow("a", "b")


@pytest.mark.parametrize("cut", [THERE, BACK], ids=["there", "back"])
async def test_a_cut_of_one_way_holds_that_way_and_lets_nobody_connect(kit: Any, cut: Flow) -> None:
    async with network(kit) as (deployment, listener):
        near, far = await connection(deployment, listener, BA)
        held, free = ((near, far), (far, near)) if cut == THERE else ((far, near), (near, far))
        async with near, far:
            await deployment.shape_links({cut: CUT})
            await held[0].send(b"held")
            await free[0].send(b"free")
            with anyio.fail_after(10):
                assert await free[1].receive() == b"free"
            assert await says_nothing(held[1])
            with anyio.move_on_after(NEVER):
                await dial(deployment, BA)
                pytest.fail("it was answered")
            await deployment.shape_links({})
            with anyio.fail_after(10):
                assert await held[1].receive() == b"held"


async def test_a_reset_beyond_a_cut_of_one_way_comes_after_it(kit: Any) -> None:
    """a's host would have answered what b sends with resets; they vanish, and b's bytes go nowhere."""
    async with network(kit) as (deployment, listener):
        near, far = await connection(deployment, listener, BA)
        async with near, far:
            await deployment.shape_links({BACK: CUT})
            reset(far)
            for _ in range(20):
                await near.send(b"x")
                assert near.extra(anyio.abc.SocketAttribute.raw_socket).fileno() >= 0
            assert await says_nothing(near)
            await deployment.shape_links({})
            with anyio.fail_after(10), pytest.raises(anyio.BrokenResourceError):
                await near.receive()


async def test_each_way_has_a_delay_of_its_own(kit: Any) -> None:
    async with network(kit) as (deployment, listener):
        near, far = await connection(deployment, listener, BA)
        async with near, far:
            await deployment.shape_links({THERE: LinkShape(delay=0.4)})
            assert await takes(near, far) >= 0.4
            slow = await takes(near, far)
            assert await takes(far, near) < slow
            await deployment.shape_links({BACK: LinkShape(delay=0.4)})
            assert await takes(far, near) >= 0.4
            began = anyio.current_time()
            await far.send_eof()
            with pytest.raises(anyio.EndOfStream):
                await near.receive()
            assert anyio.current_time() - began >= 0.4
            reset(near)
            with pytest.raises(anyio.BrokenResourceError):
                await far.receive()


async def test_what_is_under_way_when_a_delay_ends_stays_in_order(kit: Any) -> None:
    blob = random.Random(2).randbytes(3_000_000)
    shapes = [LinkShape(delay=0.2, jitter=0.2), LinkShape(), CUT, LinkShape(rate=8e6), LinkShape(jitter=0.05)]
    async with network(kit) as (deployment, listener):
        near, far = await connection(deployment, listener, BA)
        got = bytearray()

        async def receive() -> None:
            while len(got) < len(blob):
                got.extend(await far.receive())

        async with near, far, anyio.create_task_group() as tasks:
            tasks.start_soon(receive)
            for number in range(100):
                if number % 20 == 0:
                    await deployment.shape_links({THERE: shapes[number // 20]})
                await near.send(blob[number * 30_000 : (number + 1) * 30_000])
            await deployment.shape_links({})
        assert bytes(got) == blob


async def test_all_connections_of_a_flow_share_its_rate(kit: Any) -> None:
    size, rate = 150_000, 300_000.0
    async with network(kit) as (deployment, listener):
        ends = [await connection(deployment, listener, BA) for _ in range(2)]
        await deployment.shape_links({THERE: LinkShape(rate=rate)})
        began = anyio.current_time()

        async def transfer(near: Any, far: Any) -> None:
            await near.send(bytes(size))
            got = 0
            while got < size:
                got += len(await far.receive())

        async with anyio.create_task_group() as tasks:
            for near, far in ends:
                tasks.start_soon(transfer, near, far)
        assert anyio.current_time() - began >= (len(ends) * size - rate / 10) / rate
        for near, far in ends:
            await near.aclose()
            await far.aclose()


@pytest.mark.parametrize("shape", [LinkShape(delay=1000.0), LinkShape(rate=1000.0)], ids=["delay", "rate"])
async def test_a_sender_into_a_slow_link_comes_to_a_stop(kit: Any, shape: LinkShape) -> None:
    """What the relay holds is bounded."""
    async with network(kit) as (deployment, listener):
        near, far = await connection(deployment, listener, BA)
        sent = 0
        async with near, far:
            await deployment.shape_links({THERE: shape})
            while True:
                with anyio.move_on_after(NEVER) as waiting:
                    await near.send(b"x" * 65536)
                if waiting.cancelled_caught:
                    break
                sent += 65536
                assert sent < 2**27


async def test_a_relay_cannot_lose_packets_and_says_so(kit: Any) -> None:
    async with network(kit) as (deployment, _):
        with pytest.raises(FaultError, match="from b to a cannot be lost"):
            await deployment.shape_links({THERE: LinkShape(loss=0.1)})


async def takes(source: Any, target: Any) -> float:
    """Seconds from one end to the other."""
    began = anyio.current_time()
    await source.send(b".")
    with anyio.fail_after(20):
        assert await target.receive() == b"."
    return float(anyio.current_time() - began)


async def test_many_links_are_cut_at_once(kit: Any) -> None:
    names = [f"n{number}" for number in range(12)]
    links = [Link(src, dst) for src in names for dst in names if src > dst]
    async with kit.deploy(*names, links=links, relay="on") as deployment:
        assert len({deployment.link_address(link).port for link in links}) == len(links) == 66
        for cut in (links, links[::2], []):
            await deployment.shape_links(cutting(cut))


async def test_a_dead_relay_is_said_and_not_waited_for(kit: Any) -> None:
    async with network(kit) as (deployment, _):
        lines = [json.loads(line) for line in (kit.folder / "processes.jsonl").read_text().splitlines()]
        (relay,) = [line["pid"] for line in lines if line.get("name") == "the link relay"]
        os.kill(relay, signal.SIGKILL)
        await kit.eventually(lambda: not kit.is_alive(relay), "it is dead")
        with pytest.raises(FaultError, match="the link relay is not there"):
            await deployment.shape_links(cutting({BA}))


def reset(stream: Any) -> None:
    """End a connection with RST."""
    raw = stream.extra(anyio.abc.SocketAttribute.raw_socket)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    stream._transport.abort()


def cutting(links: Collection[Link]) -> dict[Flow, LinkShape]:
    """These links, both ways."""
    return {flow: CUT for link in links for flow in (Flow(link.src, link.dst), Flow(link.dst, link.src))}
