"""Channels of an SSH connection as byte streams of the event loop.

Paramiko blocks: a channel's `recv` sends window adjustments, `send` waits for the window, for the socket and for a new
key. So one thread a connection, the *pump*, does both for all of its channels, woken by paramiko itself; it never waits
for a single channel, only for what all of them wait for: the connection's socket."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from typing import Any

import anyio
from anyio.abc import ByteStream
from paramiko import SSHException

_PIECE = 32 * 1024
"""Bytes that are moved before it is the next channel's turn."""
_UNREAD, _UNSENT = 1024 * 1024, 256 * 1024
"""Bytes of a channel that may wait to be read, and to be sent, before the other side is made to wait."""
_COMPLAINTS = 8 * 1024
"""Bytes kept of what a command says on stderr: the last ones."""


class Pump(threading.Thread):
    """Moves bytes between a connection's channels and the loop. It ends when told to, and with the process."""

    def __init__(self, name: str) -> None:
        super().__init__(name=f"ssh {name}", daemon=True)
        self._waiting: deque[Channel] = deque()
        self._changed = threading.Condition()
        self._ending = False
        self.start()

    def wake(self, channel: Channel) -> None:
        """There may be something to do for this channel. From any thread; never waits long."""
        with self._changed:
            if channel not in self._waiting:
                self._waiting.append(channel)
                self._changed.notify()

    def end(self) -> None:
        with self._changed:
            self._ending = True
            self._changed.notify()

    def run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ending)
                if self._ending:
                    return
                channel = self._waiting.popleft()
            if channel.move():
                self.wake(channel)


class _Wakes(threading.Event):
    """What paramiko sets when a channel's buffer has something to read, or has ended."""

    def __init__(self, channel: Channel, pump: Pump) -> None:
        super().__init__()
        self._channel, self._pump = channel, pump

    def set(self) -> None:
        self._pump.wake(self._channel)


class _WakesToo(threading.Condition):
    """What paramiko notifies when a channel's window has grown, or has closed."""

    def __init__(self, lock: Any, channel: Channel, pump: Pump) -> None:
        super().__init__(lock)
        self._channel, self._pump = channel, pump

    def notify_all(self) -> None:
        super().notify_all()
        self._pump.wake(self._channel)


class Channel(ByteStream):
    """One channel. After the connection is lost reading ends as if the other side had closed it."""

    def __init__(self, channel: Any, pump: Pump) -> None:
        self._channel = channel
        self._pump = pump
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._out: deque[bytes] = deque()
        self._unsent = 0
        self._in: deque[bytes] = deque()
        self._unread = 0
        self._complaints = b""
        self._ended = self._finishing = self._closing = self._closed = False
        self._ended_here = False  # what the pump knows, before the loop does
        self._arrived = anyio.Event()
        self._sent = anyio.Event()
        self._gone = anyio.Event()
        channel.settimeout(0.0)
        with channel.lock:
            channel.out_buffer_cv = _WakesToo(channel.lock, self, pump)
        channel.in_stderr_buffer.set_event(_Wakes(self, pump))
        channel.in_buffer.set_event(_Wakes(self, pump))
        pump.wake(self)

    @property
    def complaints(self) -> str:
        """The end of what came on stderr. It is data, whatever it says."""
        return self._complaints.decode(errors="replace").strip()

    @property
    def exit_status(self) -> int | None:
        """The command's, once it is known."""
        return int(self._channel.exit_status) if self._channel.exit_status_ready() else None

    async def receive(self, max_bytes: int = 65536) -> bytes:
        while not self._in:
            if self._ended:
                raise anyio.EndOfStream
            self._arrived = anyio.Event()
            await self._arrived.wait()
        piece = self._in.popleft()
        if len(piece) > max_bytes:
            self._in.appendleft(piece[max_bytes:])
            piece = piece[:max_bytes]
        with self._lock:
            was_full = self._unread >= _UNREAD
            self._unread -= len(piece)
        if was_full:
            self._pump.wake(self)
        return piece

    async def send(self, item: bytes) -> None:
        """Waits while too much is unsent. Raises BrokenResourceError when the other side is gone."""
        self.send_soon(item)
        while self._unsent > _UNSENT:
            self._sent = anyio.Event()
            await self._sent.wait()
            self._check()

    def send_soon(self, item: bytes) -> None:
        """Have it sent, as a whole and in its turn. From any thread; does not wait. Raises BrokenResourceError."""
        self._check()
        with self._lock:
            self._out.append(item)
            self._unsent += len(item)
        self._pump.wake(self)

    async def send_eof(self) -> None:
        self._finishing = True
        self._pump.wake(self)

    async def wait_closed(self) -> None:
        """Until the other side has closed it, or the connection is lost: `exit_status` is known if it ever will be."""
        await self._gone.wait()

    async def aclose(self) -> None:
        self.close()
        await anyio.lowlevel.checkpoint()

    def close(self) -> None:
        self._closing = True
        self._pump.wake(self)

    def _check(self) -> None:
        if self._closing:
            raise anyio.ClosedResourceError
        if self._closed:
            raise anyio.BrokenResourceError

    # In the pump's thread from here on.

    def move(self) -> bool:
        """Move a piece each way; whether there is more to be moved at once."""
        try:
            if self._closing:
                self._close()
                return False
            more = self._push()
            if self._pull() or more:
                return True
            if self._channel.closed and self._ended_here:
                self._close()
            return False
        except (OSError, EOFError, SSHException):  # the connection is gone
            self._close()
            return False

    def _push(self) -> bool:
        with self._lock:
            piece = self._out[0] if self._out else b""
        if not piece:
            if self._finishing and not self._channel.eof_sent:
                self._channel.shutdown_write()
            return False
        try:
            sent = self._channel.send(piece[:_PIECE])
        except TimeoutError:  # no window: paramiko wakes us when there is
            return False
        if sent == 0:
            self._close()
            return False
        with self._lock:
            self._out[0] = piece[sent:]
            if not self._out[0]:
                self._out.popleft()
            self._unsent -= sent
            more, room = bool(self._out), self._unsent <= _UNSENT
        if room:
            self._tell(self._sent_some)
        return more

    def _pull(self) -> bool:
        while self._channel.recv_stderr_ready():
            self._complaints = (self._complaints + self._channel.recv_stderr(_COMPLAINTS))[-_COMPLAINTS:]
        with self._lock:
            if self._ended_here or self._unread >= _UNREAD:
                return False
        try:
            piece = self._channel.recv(_PIECE)
        except TimeoutError:
            return False
        with self._lock:
            self._unread += len(piece)
        if piece:
            self._tell(self._received, piece)
        else:
            self._end()
        return bool(piece)

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._end()
        self._tell(self._gone.set)
        with contextlib.suppress(OSError, EOFError, SSHException):  # the connection is gone, and it with it
            self._channel.close()

    def _end(self) -> None:
        self._ended_here = True
        self._tell(self._received_all)

    def _tell(self, what: Any, *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(what, *arguments)
        except RuntimeError:  # the loop has ended: nobody is there to be told
            self._closed = True

    # In the loop's thread.

    def _received(self, piece: bytes) -> None:
        self._in.append(piece)
        self._arrived.set()

    def _received_all(self) -> None:
        self._ended = True
        self._arrived.set()
        self._sent.set()

    def _sent_some(self) -> None:
        self._sent.set()
