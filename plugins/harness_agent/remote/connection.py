"""One who talks to the agent: frames in, frames out, neither ever waited for."""

from __future__ import annotations

import os
from collections.abc import Callable

from .frames import CHUNK, BrokenStream, Decoder, Frame, Header, encode
from .light import suppress
from .loop import Call, Loop

FULL = 1024 * 1024
"""Bytes not yet written at which producers are to pause."""


class Connection:
    """Over two file descriptors, or one that is a socket. `heard` gets each frame, `ended` is called once."""

    def __init__(
        self,
        loop: Loop,
        reading: int,
        writing: int,
        heard: Callable[[Connection, Frame], None],
        ended: Callable[[Connection], None],
    ) -> None:
        self._loop = loop
        self._reading, self._writing = reading, writing
        self._heard, self._ended = heard, ended
        self._decoder = Decoder()
        self._unwritten = bytearray()
        self._waiting: list[Call] = []
        self._empty: Call | None = None
        self._to: Connection | None = None
        self._paused = False
        self.open = True
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)
        self._watch()

    def begin(self, data: bytes) -> None:
        """What had been read before this connection was made."""
        self._feed(data)

    def say(self, header: Header, body: bytes = b"") -> None:
        """Send a frame; to one who is gone nothing."""
        self.write(encode(header, body))

    def write(self, data: bytes) -> None:
        if not self.open:
            return
        idle = not self._unwritten
        self._unwritten += data
        if idle:
            self._write()

    def when_written(self, call: Call) -> None:
        """Call it once everything is written, which may be now; never if the other one goes."""
        if self._unwritten:
            self._empty = call
        else:
            call()

    def bridge(self, other: Connection) -> None:
        """From now on what comes from either goes to the other one, unread, and they end together."""
        self._to, other._to = other, self

    def when_room(self, call: Call) -> None:
        """Call it once less than FULL bytes wait to be written, which may be now; never if the other one goes."""
        if len(self._unwritten) < FULL:
            call()
        else:
            self._waiting.append(call)

    def close(self) -> None:
        """Stop listening, and say no more than what the other side takes at once."""
        if not self.open:
            return
        self.open = False
        for fd in {self._reading, self._writing}:
            self._loop.watch(fd)
            with suppress(OSError):
                os.close(fd)
        self._ended(self)

    def _watch(self) -> None:
        write: Call | None = self._write if self._unwritten else None
        read: Call | None = None if self._paused else self._read
        if self._reading == self._writing:
            self._loop.watch(self._reading, read, write)
        else:
            self._loop.watch(self._reading, read)
            self._loop.watch(self._writing, None, write)

    def _read(self) -> None:
        try:
            data = os.read(self._reading, CHUNK)
        except BlockingIOError:
            return
        except OSError:  # reset
            data = b""
        if data:
            self._feed(data)
        elif self._to is not None:
            self._to.when_written(self._to.close)
            self.close()
        else:
            self.close()

    def _feed(self, data: bytes) -> None:
        if self._to is not None:
            self._pass_on(data)
            return
        try:
            for frame in self._decoder.feed(data):
                if self._to is None:
                    self._heard(self, frame)
                else:
                    self._pass_on(encode(*frame))
        except BrokenStream:
            self.close()
            return
        if self._to is not None:
            self._pass_on(self._decoder.rest())

    def _pass_on(self, data: bytes) -> None:
        """No faster than it is taken."""
        assert self._to is not None
        self._to.write(data)
        self._paused = True
        self._watch()
        self._to.when_room(self._go_on)

    def _go_on(self) -> None:
        self._paused = False
        if self.open:
            self._watch()

    def _write(self) -> None:
        try:
            while self._unwritten:
                with memoryview(self._unwritten) as view:
                    written = os.write(self._writing, view[:CHUNK])
                del self._unwritten[:written]
        except BlockingIOError:
            pass
        except OSError:  # nobody there any more
            self.close()
            return
        self._watch()
        while self._waiting and len(self._unwritten) < FULL:
            self._waiting.pop(0)()
        if self._empty is not None and not self._unwritten:
            call, self._empty = self._empty, None
            call()
