"""A TCP relay for peer links: one listening port a link, whose traffic can be cut, delayed and slowed down, each way by
itself. Standard library only, one file, Python 3.11 and newer.

    python -I -S program.py      with JSON lines on stdin and stdout

    {"id": 0, "listen": [["127.0.0.1", 0, "127.0.0.1", 20001, "a", "b"], …]}
        → {"id": 0, "ports": [40001, …]}    listen at the first address, 0 being any port, for who dials the second one
                                            as traffic from "a" to "b", and what comes back as traffic from "b" to "a"
    {"id": 1, "shape": [["a", "b", {"cut": true}], ["b", "a", {"delay": 0.1, "jitter": 0.01, "rate": 1e6}]]}
        → {"id": 1}                         do exactly this, to all links at which it happens, and nothing to the others
    {"id": 2, "close": [40001]}
        → {"id": 2}                         listen there no longer; connections that are there go on
    a request that cannot be met            → {"id": 1, "error": "…"}

It is a process of its own, so that bytes between nodes cost the controller's event loop nothing. It leaves when its
stdin ends.

What a cut is: a partition, in which packets vanish. Nothing is closed and nothing refused, as both would tell the
nodes at once what a partition hides from them.
- Connections stay open and silent in that direction: nothing is read from the sender any more, so what it still sends
  fills buffers until its window closes. TCP loses nothing within a connection that outlives the partition: after
  mending, all of it arrives, also the end of the stream or the reset that came meanwhile. In the other direction all
  that is sent arrives.
- New connections are not answered, whichever direction is cut: SYN or SYN-ACK would have vanished. The listening
  socket's queue of connections is made short and filled with our own; Linux then drops every SYN (tcp(7)), the dialler
  retries with its usual back-off, and connects after mending. That the last of our own was not answered either is the
  proof.
What was in a socket's buffer on its way out at the moment of the cut still arrives: it had left.

What a delay is: each piece that is read is written so much later, with the jitter up to so much more or less, drawn
evenly, by the system's randomness; in order still. Ends and resets take as long. The dialler's handshake does not: our
kernel answers it. A rate is a token bucket that is full after a tenth of a second, one for each flow, however many
connections share it. What is held is bounded, as a window does it: the sender of more has to wait."""

from __future__ import annotations

import asyncio
import collections
import json
import math
import random
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
BURST = 0.1
"""Seconds in which a flow that was idle may have saved up what it did not send."""
LEAST_HELD, MOST_HELD = 64 * 1024, 16 * 1024 * 1024
"""Bytes that are held of one direction of one connection before its sender has to wait: what its delay and its rate
need, between these."""
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Where we reach ourselves who listen everywhere."""


class _Flow:
    """Traffic from one node to another, and what is done to it."""

    def __init__(self) -> None:
        self.ends: set[_End] = set()
        self.shape()

    def shape(self, cut: bool = False, delay: float = 0.0, jitter: float = 0.0, rate: float = math.inf) -> None:
        self.cut, self.delay, self.jitter, self.rate = cut, delay, jitter, rate
        self.holds = bool(cut or delay or jitter or rate != math.inf)
        self.room = MOST_HELD if rate == math.inf else int(rate * (delay + jitter + BURST))
        self.room = max(LEAST_HELD, min(MOST_HELD, self.room))
        self._tokens, self._counted_at = 0.0, asyncio.get_running_loop().time()

    def latency(self) -> float:
        if not self.jitter:
            return self.delay
        return max(0.0, self.delay + random.uniform(-self.jitter, self.jitter))

    def take(self, wanted: int, now: float) -> tuple[int, float]:
        """How many bytes may pass now; if none, in how many seconds some may."""
        if self.rate == math.inf:
            return wanted, 0.0
        most = max(1.0, self.rate * BURST)
        self._tokens = min(most, self._tokens + (now - self._counted_at) * self.rate)
        self._counted_at = now
        worth_it = min(wanted, max(1, int(most / 2)))
        if self._tokens < worth_it:
            return 0, (worth_it - self._tokens) / self.rate + 1e-4
        passing = min(wanted, int(self._tokens))
        self._tokens -= passing
        return passing, 0.0


_END, _RESET = "end", "reset"
"""What a stream can come to, behind all its bytes."""


class _End(asyncio.Protocol):
    """One end of a relayed connection: what it reads is written to the other end, as its flow is shaped."""

    def __init__(self, flow: _Flow) -> None:
        self.other: _End | None = None
        self.transport: asyncio.Transport | None = None
        self._flow = flow
        self._held: collections.deque[tuple[float, bytes | str]] = collections.deque()  # when due, and what
        self._held_bytes = 0
        self._due = 0.0  # of the last that was held
        self._timer: asyncio.TimerHandle | None = None
        self._congested = False  # the kernel takes no more of what we write here
        self._gone = False
        self._finished = False  # it has sent its last byte
        self._all_passed = False  # … and that was passed on

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._flow.ends.add(self)
        transport.pause_reading()

    def join(self, other: _End) -> None:
        """From now on they pass on to one another."""
        self.other, other.other = other, self
        self.go_on()
        other.go_on()

    def data_received(self, data: bytes) -> None:
        if self._flow.holds or self._held or self.other is None:
            self._hold(data)
        else:
            assert self.other.transport is not None
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        self._finished = True
        self._hold(_END)
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self._gone = True
        if error is None:  # we have closed it ourselves
            self._flow.ends.discard(self)
            self._drop()
        else:
            self._hold(_RESET)
            if self.other is not None:
                self.other.go_on()

    def pause_writing(self) -> None:
        self._congested = True
        if self.other is not None:
            self.other.go_on()

    def resume_writing(self) -> None:
        self._congested = False
        if self.other is not None:
            self.other.go_on()

    def go_on(self) -> None:
        """Pass on what is held, as far as that is due now, and read on, or not: while the flow is cut, or the other end
        cannot take it, or is not there (any more), or enough is held."""
        other = self.other
        if other is None or other.transport is None or self.transport is None:
            return
        self._pass_on(other)
        if self._gone or self._finished:
            return
        if self._flow.cut or other._gone or other._congested or self._held_bytes >= self._flow.room:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def close(self, *, reset: bool) -> None:
        assert self.transport is not None
        self._drop()
        if self._gone:
            self._flow.ends.discard(self)
        elif reset:
            raw = self.transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close sends RST
            self.transport.abort()
        else:
            self.transport.close()

    def _hold(self, what: bytes | str) -> None:
        now = asyncio.get_running_loop().time()
        self._due = max(self._due, now + self._flow.latency())
        self._held.append((self._due, what))
        if isinstance(what, bytes):
            self._held_bytes += len(what)
        if self._timer is None:
            self.go_on()
        elif self._held_bytes >= self._flow.room and not self._gone:
            assert self.transport is not None
            self.transport.pause_reading()

    def _pass_on(self, other: _End) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._held and not self._flow.cut:
            due, what = self._held[0]
            if (other._congested or other._gone) and what is not _RESET:
                return
            wait = due - now
            if wait <= 0:
                wait = self._pass(what, other, now)
            if wait > 0:
                self._timer = loop.call_later(wait, self.go_on)
                return

    def _pass(self, what: bytes | str, other: _End, now: float) -> float:
        """Pass on the first that is held; the seconds to wait until more of it may pass."""
        assert other.transport is not None
        if isinstance(what, str):
            self._held.popleft()
            if what is _RESET:
                self._flow.ends.discard(self)
                other.close(reset=True)
            elif other._all_passed:  # both have said all: after what is still to be written
                other.close(reset=False)
                self.close(reset=False)
            else:
                self._all_passed = True
                other.transport.write_eof()
            return 0.0
        passing, wait = self._flow.take(len(what), now)
        if passing:
            self._held_bytes -= passing
            if passing < len(what):
                self._held[0] = (self._held[0][0], what[passing:])
            else:
                self._held.popleft()
            other.transport.write(what[:passing])
        return wait

    def _drop(self) -> None:
        """Nobody is there any more to whom what is held could be passed on."""
        self._held.clear()
        self._held_bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Link:
    """A link: its listening socket, its target, and the two flows of its connections."""

    def __init__(self, at: tuple[str, int], target: tuple[str, int], there: _Flow, back: _Flow) -> None:
        self._target = target
        self._there, self._back = there, back
        family = socket.AF_INET6 if ":" in at[0] else socket.AF_INET
        self._socket = socket.create_server(
            at, family=family, backlog=BACKLOG, dualstack_ipv6=at[0] == "::" and socket.has_dualstack_ipv6()
        )
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]
        self._self = (LOOPBACK.get(at[0], at[0]), self.port)
        self._mended = asyncio.Event()
        self._silent = False  # proven to be so
        self._fillers: list[socket.socket] = []
        self._filler_names: set[Any] = set()
        self._dials: set[asyncio.Task[None]] = set()
        self._open()

    def shape(self) -> asyncio.Task[None] | None:
        """Answer who dials, or do not, as the flows say; a task that raises OSError when the kernel goes on answering,
        None when there is nothing to wait for."""
        cut = self._there.cut or self._back.cut
        if cut and not self._silent:
            return asyncio.create_task(self._cut())
        if not cut and not self._mended.is_set():
            self._mend()
        return None

    def close(self) -> None:
        """Listen no longer."""
        asyncio.get_running_loop().remove_reader(self._socket)
        for filler in self._fillers:
            filler.close()
        self._socket.close()

    def _open(self) -> None:
        self._mended.set()
        asyncio.get_running_loop().add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        try:
            dialled, name = self._socket.accept()
        except OSError:
            return  # who dialled has given up
        if name[:2] in self._filler_names:
            self._filler_names.discard(name[:2])
            dialled.close()
            return
        task = asyncio.create_task(self._connect(dialled))
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)

    async def _connect(self, dialled: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        near, far = _End(self._there), _End(self._back)
        try:
            await loop.connect_accepted_socket(lambda: near, dialled)
            await self._mended.wait()
            await loop.create_connection(lambda: far, *self._target)
        except OSError:
            # Nobody listens there: as near to a refusal as an accepted connection can get, after its round trip.
            await asyncio.sleep(self._there.latency() + self._back.latency())
            near.close(reset=True)
            return
        near.join(far)

    async def _cut(self) -> None:
        self._mended.clear()
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.listen(FILLED_BACKLOG)
        for _ in range(FILLERS):
            filler = socket.socket(self._socket.family)
            filler.setblocking(False)
            self._fillers.append(filler)
            if not await self._is_answered(filler):
                self._silent = True
                return
            self._filler_names.add(filler.getsockname()[:2])
        raise OSError(f"port {self.port} still answers")

    async def _is_answered(self, filler: socket.socket) -> bool:
        try:
            async with asyncio.timeout(UNANSWERED):
                await asyncio.get_running_loop().sock_connect(filler, self._self)
        except TimeoutError:
            try:
                filler.getpeername()  # it may have been we who were late
            except OSError:
                return False
        return True

    def _mend(self) -> None:
        self._silent = False
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()
        self._socket.listen(BACKLOG)
        self._open()


class _Relay:
    def __init__(self) -> None:
        self._links: list[_Link] = []
        self._flows: dict[tuple[str, str], _Flow] = {}

    async def serve(self) -> None:
        """Meet requests, one after the other, until there are no more."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=16 * 1024 * 1024)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)  # or a socket
        while line := await reader.readline():
            request = json.loads(line)
            answer = {"id": request["id"]}
            try:
                if "listen" in request:
                    answer["ports"] = [self._listen(*each) for each in request["listen"]]
                elif "close" in request:
                    self._close(request["close"])
                else:
                    await self._shape({(src, dst): shape for src, dst, shape in request["shape"]})
            except OSError as error:
                answer["error"] = str(error)
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()

    def _listen(self, host: str, port: int, to_host: str, to_port: int, src: str, dst: str) -> int:
        there, back = (self._flows.setdefault(pair, _Flow()) for pair in ((src, dst), (dst, src)))
        link = _Link((host, port), (to_host, to_port), there, back)
        self._links.append(link)
        return link.port

    def _close(self, ports: list[int]) -> None:
        for link in [link for link in self._links if link.port in ports]:
            self._links.remove(link)
            link.close()

    async def _shape(self, shapes: dict[tuple[str, str], dict[str, Any]]) -> None:
        """Does all that it can before it raises the first OSError."""
        for pair, flow in self._flows.items():
            flow.shape(**shapes.get(pair, {}))
        results = await asyncio.gather(*filter(None, [link.shape() for link in self._links]), return_exceptions=True)
        for flow in self._flows.values():
            for end in tuple(flow.ends):
                end.go_on()
        for result in results:
            if isinstance(result, BaseException):
                raise result


def main() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if sys.platform == "linux":  # elsewhere the hard limit may be one that cannot be set
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(_Relay().serve())


if __name__ == "__main__":
    main()
