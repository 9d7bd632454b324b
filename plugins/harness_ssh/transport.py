"""The agent's bytes over a channel."""

from __future__ import annotations

from typing import NoReturn

import anyio

from harness.api import MachineLost
from harness_ssh.connection import SshConnection
from harness_ssh.stream import Channel

LAST_WORDS = 2.0
"""Seconds to wait for how a command ended, once it says nothing more."""
NOT_FOUND = 127
"""What a shell exits with when there is no such command."""


class ChannelTransport:
    """A `harness_agent.Transport`: the program at the other end has been started by the user's login shell."""

    def __init__(self, channel: Channel, connection: SshConnection) -> None:
        self._channel = channel
        self._connection = connection

    @classmethod
    async def start(cls, connection: SshConnection, command: str) -> ChannelTransport:
        """Raises MachineLost."""
        return cls(await connection.execute(command), connection)

    async def send(self, data: bytes) -> None:
        try:
            await self._channel.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            await self._explain()

    def send_soon(self, data: bytes) -> None:
        """From any thread: as a whole, after what is already on its way. Raises BrokenResourceError."""
        self._channel.send_soon(data)

    async def receive(self) -> bytes:
        try:
            return await self._channel.receive()
        except anyio.EndOfStream:
            await self._explain()

    async def aclose(self) -> None:
        self._channel.close()

    async def _explain(self) -> NoReturn:
        where = str(self._connection.destination)
        if not self._connection.alive:
            raise MachineLost(f"the connection to {where} is lost")
        with anyio.move_on_after(LAST_WORDS):
            await self._channel.wait_closed()
        status = self._channel.exit_status
        said = f": {self._channel.complaints}" if self._channel.complaints else ""
        if status == NOT_FOUND:
            raise MachineLost(f"{where} has no Python 3 where one was looked for{said}; install python3")
        how = "ended" if status is None else f"ended with status {status}"
        raise MachineLost(f"what ran for us on {where} {how}{said}")
