"""Ports of a machine at the controller, through a real sshd."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute

from harness.api import Address, HostSpec
from harness_ssh.pool import Pool, SshSettings
from harness_ssh.tunnels import Tunnels

pytestmark = [pytest.mark.anyio, pytest.mark.real]

Handler = Callable[[ByteStream], Awaitable[None]]


@asynccontextmanager
async def tunnel_to(sshd: Any, handler: Handler) -> AsyncIterator[tuple[Address, Pool]]:
    """A tunnel to a server on the machine's loopback."""
    pool = Pool([HostSpec("node01", sshd.variables())], SshSettings(), 20)
    try:
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as far, anyio.create_task_group() as tasks:
            tasks.start_soon(far.serve, handler)
            port = far.extra(SocketAttribute.local_port)
            yield await Tunnels(pool, tasks).open("node01", Address("127.0.0.1", port)), pool
            tasks.cancel_scope.cancel()
    finally:
        await pool.close()


async def echo(stream: ByteStream) -> None:
    async with stream:
        async for piece in stream:
            await stream.send(piece)


async def ask(address: Address, question: bytes = b"hello") -> bytes:
    async with await anyio.connect_tcp(address.host, address.port) as stream:
        await stream.send(question)
        return await stream.receive()


async def test_bytes_pass_unchanged_and_ends_are_passed_on(sshd: Any) -> None:
    sent = os.urandom(2_000_000)
    async with tunnel_to(sshd, echo) as (address, _):
        assert address.host == "127.0.0.1"
        async with await anyio.connect_tcp(address.host, address.port) as stream, anyio.create_task_group() as tasks:

            async def send() -> None:
                await stream.send(sent)
                await stream.send_eof()

            tasks.start_soon(send)
            assert b"".join([piece async for piece in stream]) == sent


async def test_many_at_once_through_one_connection(sshd: Any) -> None:
    async with tunnel_to(sshd, echo) as (address, _):
        answers: list[bytes] = []

        async def one(number: int) -> None:
            answers.append(await ask(address, str(number).encode()))

        async with anyio.create_task_group() as tasks:
            for number in range(40):
                tasks.start_soon(one, number)
        assert sorted(map(int, answers)) == list(range(40))
    assert sum("Accepted" in line for line in (sshd.folder / "log").read_text().splitlines()) == 1


async def test_one_that_does_not_read_holds_up_no_other(sshd: Any) -> None:
    """As a paused node: its buffers fill, others go on."""

    async def first_word_then_nothing(stream: ByteStream) -> None:
        async with stream:
            word = await stream.receive(1)
            if word == b"s":
                await anyio.sleep_forever()
            await stream.send(word)

    async with (
        tunnel_to(sshd, first_word_then_nothing) as (address, _),
        await anyio.connect_tcp(address.host, address.port) as stuck,
    ):
        with anyio.move_on_after(1.0) as limit:
            while True:
                await stuck.send(b"s" * 1_000_000)
        assert limit.cancelled_caught
        with anyio.fail_after(10):
            assert await ask(address, b"a") == b"a"


async def test_the_address_survives_a_lost_connection(sshd: Any) -> None:
    async with tunnel_to(sshd, echo) as (address, pool):
        assert await ask(address) == b"hello"
        before = await pool.get("node01")
        sshd.cut()
        with anyio.fail_after(10):
            while before.alive:
                await anyio.sleep(0.02)
        assert await ask(address) == b"hello"
        sshd.stop()
        with anyio.fail_after(10), pytest.raises((anyio.BrokenResourceError, anyio.EndOfStream, ConnectionError)):
            while True:
                await ask(address)
        sshd.start()
        assert await ask(address) == b"hello"


async def test_where_nobody_listens_the_call_is_reset(sshd: Any, free_port: int) -> None:
    pool = Pool([HostSpec("node01", sshd.variables())], SshSettings(), 20)
    async with anyio.create_task_group() as tasks:
        address = await Tunnels(pool, tasks).open("node01", Address("127.0.0.1", free_port))
        with pytest.raises((anyio.BrokenResourceError, ConnectionError)):
            await ask(address)
        tasks.cancel_scope.cancel()
    await pool.close()
