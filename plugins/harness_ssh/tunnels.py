"""Ports of machines at the controller: each has a listener on 127.0.0.1, which stays while connections come and go."""

from __future__ import annotations

import errno
import socket
import struct

import anyio
import anyio.abc
from anyio.abc import ByteStream, SocketAttribute

from harness.api import Address, HarnessError
from harness_ssh.pool import Pool

LOOPBACK = "127.0.0.1"


class Tunnels:
    """Listeners by machine and port, served by tasks of the task group."""

    def __init__(self, pool: Pool, tasks: anyio.abc.TaskGroup) -> None:
        self._pool = pool
        self._tasks = tasks

    async def open(self, machine: str, target: Address) -> Address:
        """Where the controller reaches, from now on, what the machine reaches at this address."""
        listener = await anyio.create_tcp_listener(local_host=LOOPBACK)
        address = Address(LOOPBACK, listener.extra(SocketAttribute.local_port))
        self._tasks.start_soon(self._serve, listener, machine, target)
        return address

    async def _serve(
        self, listener: anyio.abc.SocketListener | anyio.abc.Listener[ByteStream], machine: str, target: Address
    ) -> None:
        async def serve(local: ByteStream) -> None:
            async with local:
                await self._connect(local, machine, target)

        async with listener:
            await listener.serve(serve, self._tasks)

    async def _connect(self, local: ByteStream, machine: str, target: Address) -> None:
        """Pass on until one side is done. Who cannot be reached is refused, as if nobody listened."""
        try:
            connection = await self._pool.get(machine)
            remote = await connection.dial(target.host, target.port)
        except (HarnessError, ConnectionRefusedError):
            _refuse(local)
            return
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_pass_on, local, remote, tasks.cancel_scope)
                tasks.start_soon(_pass_on, remote, local, tasks.cancel_scope)
        finally:
            remote.close()


async def _pass_on(source: ByteStream, target: ByteStream, scope: anyio.CancelScope) -> None:
    try:
        async for piece in source:
            await target.send(piece)
        await _end(target)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        scope.cancel()
    except OSError as error:
        if error.errno not in (errno.ENOTCONN, errno.EPIPE, errno.ECONNRESET):
            raise
        scope.cancel()


async def _end(target: ByteStream) -> None:
    """Nothing more comes. Raises OSError and anyio's where the other side is gone."""
    try:
        await target.send_eof()
    except RuntimeError as error:  # uvloop's word for it; anyio knows it of sending alone
        raise anyio.ClosedResourceError from error


def _refuse(local: ByteStream) -> None:
    """Close with a reset, so that it is not taken for an empty answer."""
    raw = local.extra(SocketAttribute.raw_socket)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
