"""A TCP relay for peer links: one listening port a link, any of which can be cut. Standard library only, one file.

    python -I -S relay.py        with a socket as stdin and stdout, that carries JSON lines

    {"id": 0, "listen": [["127.0.0.1", 20001], …]}  → {"id": 0, "ports": [40001, …]}   where to dial each target
    {"id": 1, "cut": [0, 3]}                        → {"id": 1}     cut exactly these links, mend the others
    a request that cannot be met                    → {"id": 1, "error": "…"}

It is a process of its own, so that bytes between nodes cost the controller's event loop nothing. It leaves when its
socket ends.

What a cut is: a partition, in which packets vanish. Nothing is closed and nothing refused, as both would tell the
nodes at once what a partition hides from them.
- Connections stay open and silent: nothing is read from either side any more, so what a node still sends fills buffers
  until its window closes. TCP loses nothing within a connection that outlives the partition: after mending, all of it
  arrives, also the ends of streams and resets that came meanwhile.
- New connections are not answered. The listening socket's queue of connections is made short and filled with our own;
  Linux then drops every SYN (tcp(7)), the dialler retries with its usual back-off, and connects after mending.
  That the last of our own was not answered either is the proof.
What was in a socket's buffer on its way out at the moment of the cut still arrives: it had left.

Traffic flows in two directions, each held by itself (`_End.hold`): a link that is cut holds both."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import struct
import sys
from typing import Any

BACKLOG = 128
FILLED_BACKLOG = 1
"""Linux keeps one connection more than this in the queue. Not 0: that looks like a SYN flood to it."""
FILLERS = 8
"""As many of our own connections at most to fill the queue."""
UNANSWERED = 0.1
"""Seconds after which a dial within this machine counts as not answered: the kernel answers at once or never."""


class _End(asyncio.Protocol):
    """One end of a relayed connection: what it reads is written to the other end."""

    def __init__(self, link: _Link) -> None:
        self._link = link
        self.other: _End | None = None
        self.transport: asyncio.Transport | None = None
        self._congested = False  # the kernel takes no more of what we write here
        self._finished = False  # it has sent its last byte
        self._reset_by: bool | None = None  # it is gone: by a reset (True), or in good order (False)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._link.ends.add(self)
        self.flow()

    def flow(self) -> None:
        """Read on, or not: while the link is cut, or the other end cannot take it, or is not there yet."""
        assert self.transport is not None
        other = self.other
        if self._reset_by is not None or self._finished:
            pass
        elif self._link.is_cut or other is None or other.transport is None or other._congested:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()
        if other is not None and other._reset_by is not None and not self._link.is_cut:
            self.close(reset=other._reset_by)

    def close(self, *, reset: bool) -> None:
        assert self.transport is not None
        if reset:
            raw = self.transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close sends RST
            self.transport.abort()
        else:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        assert self.other is not None and self.other.transport is not None
        self.other.transport.write(data)

    def eof_received(self) -> bool:
        assert self.other is not None and self.other.transport is not None and self.transport is not None
        self._finished = True
        if self.other._finished:
            self.other.transport.close()  # both have said all: after what is still to be written
            self.transport.close()
        else:
            self.other.transport.write_eof()
        return True

    def pause_writing(self) -> None:
        self._congested = True
        if self.other is not None and self.other.transport is not None:
            self.other.flow()

    def resume_writing(self) -> None:
        self._congested = False
        if self.other is not None and self.other.transport is not None:
            self.other.flow()

    def connection_lost(self, error: Exception | None) -> None:
        self._link.ends.discard(self)
        self._reset_by = error is not None
        if self.other is not None and self.other.transport is not None and self.other._reset_by is None:
            self.other.flow()


class _Link:
    """A link: its listening socket, its target, and the ends of its connections."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]
        self.ends: set[_End] = set()
        self._mended = asyncio.Event()
        self._fillers: list[socket.socket] = []
        self._filler_names: set[Any] = set()
        self._dials: set[asyncio.Task[None]] = set()
        self._open()

    @property
    def is_cut(self) -> bool:
        return not self._mended.is_set()

    def _open(self) -> None:
        self._mended.set()
        asyncio.get_running_loop().add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        try:
            dialled, name = self._socket.accept()
        except BlockingIOError:
            return  # who dialled has given up
        if name in self._filler_names:
            self._filler_names.discard(name)
            dialled.close()
            return
        task = asyncio.create_task(self._connect(dialled))
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)

    async def _connect(self, dialled: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        near, far = _End(self), _End(self)
        await loop.connect_accepted_socket(lambda: near, dialled)
        await self._mended.wait()
        try:
            await loop.create_connection(lambda: far, *self._target)
        except OSError:
            near.close(reset=True)  # nobody listens there: as near to a refusal as an accepted connection can get
            return
        near.other, far.other = far, near
        near.flow()
        far.flow()

    async def cut(self) -> None:
        """Raises OSError when the kernel goes on answering."""
        self._mended.clear()
        asyncio.get_running_loop().remove_reader(self._socket)
        for end in tuple(self.ends):
            end.flow()
        self._socket.listen(FILLED_BACKLOG)
        for _ in range(FILLERS):
            filler = socket.socket()
            filler.setblocking(False)
            self._fillers.append(filler)
            if not await self._is_answered(filler):
                return
            self._filler_names.add(filler.getsockname())
        raise OSError(f"port {self.port} still answers")

    async def _is_answered(self, filler: socket.socket) -> bool:
        try:
            async with asyncio.timeout(UNANSWERED):
                await asyncio.get_running_loop().sock_connect(filler, ("127.0.0.1", self.port))
        except TimeoutError:
            try:
                filler.getpeername()  # it may have been we who were late
            except OSError:
                return False
        return True

    def mend(self) -> None:
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()
        self._socket.listen(BACKLOG)
        self._open()
        for end in tuple(self.ends):
            end.flow()


class _Relay:
    def __init__(self) -> None:
        self._links: list[_Link] = []

    async def serve(self, control: socket.socket) -> None:
        """Meet requests, one after the other, until there are no more."""
        reader, writer = await asyncio.open_connection(sock=control)
        while line := await reader.readline():
            request = json.loads(line)
            answer = {"id": request["id"]}
            try:
                if "listen" in request:
                    self._links += [_Link((host, port)) for host, port in request["listen"]]
                    answer["ports"] = [link.port for link in self._links]
                else:
                    await self._cut({self._links[number] for number in request["cut"]})
            except OSError as error:
                answer["error"] = str(error)
            writer.write(json.dumps(answer).encode() + b"\n")

    async def _cut(self, links: set[_Link]) -> None:
        """Cuts and mends all that it can before it raises the first OSError."""
        for link in self._links:
            if link.is_cut and link not in links:
                link.mend()
        results = await asyncio.gather(*(link.cut() for link in links if not link.is_cut), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result


def main() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if sys.platform == "linux":  # elsewhere the hard limit may be one that cannot be set
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(_Relay().serve(socket.socket(fileno=0)))


if __name__ == "__main__":
    main()
