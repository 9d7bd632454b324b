"""Peers over TCP: frames of a 4-byte big-endian length and JSON; hello, keepalive, reconnection.

The first frame each way is a hello: the chain's genesis hash, the node's name, its head. A peer that says nothing for
SILENCE seconds, not even a pong, counts as gone: paused, cut off or dead look alike from here. Peers are not
authenticated; whatever they send is checked by its own signatures."""

from __future__ import annotations

import asyncio
import logging
import random
import struct
from dataclasses import dataclass
from typing import Any

from . import VERSION
from .codec import Malformed, decode_object, encode, field
from .core import Core, PeerFault

log = logging.getLogger("gossip")

MAX_FRAME = 8 << 20
MAX_UNSENT = 32 << 20
"""Bytes that may wait for a slow peer before it is dropped."""
PING_INTERVAL = 1.0
SILENCE = 4.0
HELLO_TIMEOUT = 3.0
FIRST_DELAY, LAST_DELAY = 0.1, 2.0
"""Seconds before dialling again: doubled after each failure, with jitter."""

_LENGTH = struct.Struct(">I")

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Dial:
    """A peer to dial, at the address that its link was given."""

    name: str
    host: str
    port: int


class _Connection(asyncio.Protocol):
    """One TCP connection, dialled or accepted. `peer` is known once it has said hello."""

    def __init__(self, gossip: Gossip, expected: str | None) -> None:
        self._gossip = gossip
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._keepalive: asyncio.TimerHandle | None = None
        self._heard = self._loop.time()
        self.expected = expected
        self.peer: str | None = None
        self.closed: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._gossip.connections.add(self)
        self.send(encode(self._gossip.hello()))
        self._keepalive = self._loop.call_later(HELLO_TIMEOUT, self._keep_alive)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._keepalive:
            self._keepalive.cancel()
        self._gossip.lost(self)
        if not self.closed.done():
            self.closed.set_result(None)

    def send(self, message: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(_LENGTH.pack(len(message)) + message)
        if self._transport.get_write_buffer_size() > MAX_UNSENT:
            self.drop("it reads too slowly")

    def drop(self, why: str) -> None:
        if self._transport is not None and not self._transport.is_closing():
            log.warning("connection with %s dropped: %s", self.peer or self.expected or "a stranger", why)
            self._transport.abort()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _keep_alive(self) -> None:
        silent = self._loop.time() - self._heard
        if self.peer is None:
            self.drop("no hello")
        elif silent > SILENCE:
            self.drop(f"silent for {silent:.1f} s")
        else:
            self.send(encode({"type": "ping", **self._gossip.core.hello()}))
            self._keepalive = self._loop.call_later(PING_INTERVAL, self._keep_alive)

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        self._received += data
        try:
            while (frame := self._next_frame()) is not None:
                self._frame(decode_object(frame))
                if self._transport is None or self._transport.is_closing():
                    return
        except (Malformed, PeerFault) as error:
            self.drop(str(error))

    def _next_frame(self) -> bytes | None:
        if len(self._received) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._received)
        if length > MAX_FRAME:
            raise PeerFault(f"a frame of {length} bytes")
        end = _LENGTH.size + length
        if len(self._received) < end:
            return None
        frame = bytes(self._received[_LENGTH.size : end])
        del self._received[:end]
        return frame

    def _frame(self, message: Message) -> None:
        if self.peer is None:
            self._hello(message)
            return
        if message.get("type") == "ping":
            self.send(encode({"type": "pong", **self._gossip.core.hello()}))
        self._gossip.core.received(self.peer, message)

    def _hello(self, message: Message) -> None:
        name = field(message, "node", str)
        if field(message, "type", str) != "hello":
            raise PeerFault("no hello")
        if field(message, "genesis", str) != self._gossip.core.genesis.hash:
            raise PeerFault("it is of another chain")
        if self.expected is not None and name != self.expected:
            raise PeerFault(f"it calls itself {name[:64]!r}")
        if name not in self._gossip.members:
            raise PeerFault(f"{name[:64]!r} is no member of this chain")
        self.peer = name
        self._gossip.met(self, message)
        if self._keepalive:
            self._keepalive.cancel()
        self._keepalive = self._loop.call_later(PING_INTERVAL, self._keep_alive)


class Gossip:
    """All of a node's connections. `core` is set before it starts."""

    core: Core

    def __init__(self) -> None:
        self.connections: set[_Connection] = set()
        self.members: frozenset[str] = frozenset()
        self._by_peer: dict[str, _Connection] = {}
        self._server: asyncio.Server | None = None

    def hello(self) -> Message:
        return {
            "type": "hello", "genesis": self.core.genesis.hash, "node": self.core.who.member.name,
            "version": VERSION, **self.core.hello(),
        }  # fmt: skip

    async def listen(self, core: Core, host: str, port: int) -> None:
        """Begin to accept peers. Raises OSError when the port is taken."""
        self.core = core
        self.members = frozenset(m.name for m in core.genesis.members) - {core.who.member.name}
        self._server = await asyncio.get_running_loop().create_server(lambda: _Connection(self, None), host, port)

    async def keep_dialling(self, dial: Dial) -> None:
        """Stay connected with this peer, until cancelled."""
        loop = asyncio.get_running_loop()
        delay = FIRST_DELAY
        while True:
            try:
                async with asyncio.timeout(HELLO_TIMEOUT):
                    _, connection = await loop.create_connection(
                        lambda: _Connection(self, dial.name), dial.host, dial.port
                    )
            except OSError as error:  # TimeoutError included
                log.debug("cannot reach %s at %s:%d: %s", dial.name, dial.host, dial.port, error)
            else:
                await connection.closed
                if connection.peer is not None:
                    delay = FIRST_DELAY
            await asyncio.sleep(delay * random.uniform(0.7, 1.0))
            delay = min(2 * delay, LAST_DELAY)

    def send(self, peer: str, message: bytes) -> None:
        connection = self._by_peer.get(peer)
        if connection is not None:
            connection.send(message)

    def met(self, connection: _Connection, hello: Message) -> None:
        assert connection.peer is not None
        old = self._by_peer.get(connection.peer)
        if old is not None:  # a peer that came back before we noticed that it had gone
            self.lost(old)
            old.drop("replaced by a new connection")
        self._by_peer[connection.peer] = connection
        self.core.connected(connection.peer, hello)

    def lost(self, connection: _Connection) -> None:
        self.connections.discard(connection)
        if connection.peer is not None and self._by_peer.get(connection.peer) is connection:
            del self._by_peer[connection.peer]
            self.core.disconnected(connection.peer)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.close()
