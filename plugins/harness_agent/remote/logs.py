"""Log files: written by services directly, followed from any offset, without looking again and again."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Callable

from .connection import Connection
from .frames import CHUNK
from .loop import Loop

_IN_MODIFY, _IN_CLOEXEC, _IN_NONBLOCK = 0x2, 0o2000000, 0o4000  # linux/inotify.h
_EVENT = struct.Struct("iIII")
_LOOK_AGAIN = 0.1
"""Seconds between two looks at a log where the kernel does not tell of changes: macOS, or too many ask to be told."""


class Follower:
    """Sends a log to a connection from an offset on, as it grows."""

    def __init__(self, fd: int, offset: int, connection: Connection, key: str) -> None:
        self._fd, self._offset = fd, offset
        self.connection, self._key = connection, key
        self._sending = False

    def look(self) -> None:
        """Send what is new, no faster than it is taken."""
        if not self._sending:
            self._sending = True
            self._send()

    def _send(self) -> None:
        self._sending = False
        if not self.connection.open:
            return
        data = os.pread(self._fd, CHUNK, self._offset)
        if data:
            self.connection.say({"event": "log", "key": self._key, "offset": self._offset}, data)
            self._offset += len(data)
            self._sending = True
            self.connection.when_room(self._send)


class Watcher:
    """Calls back when a file that is open has changed."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._calls: dict[int, Callable[[], None]] = {}
        self._libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
        self._inotify: int | None = None
        self._watched: set[int] = set()

    def watch(self, fd: int, call: Callable[[], None]) -> None:
        """From now on; once for each descriptor."""
        if fd in self._watched:
            return
        self._watched.add(fd)
        if self._libc is None:
            self._look_again(fd, call)
            return
        if self._inotify is None:
            made = self._libc.inotify_init1(_IN_CLOEXEC | _IN_NONBLOCK)
            if made < 0:  # fs.inotify.max_user_instances, which all of a user's programs share
                self._look_again(fd, call)
                return
            self._inotify = made
            self._loop.watch(made, read=self._told)
        # by its descriptor: the file may have no name
        watched = self._libc.inotify_add_watch(self._inotify, f"/proc/self/fd/{fd}".encode(), _IN_MODIFY)
        if watched < 0:  # fs.inotify.max_user_watches
            self._look_again(fd, call)
        else:
            self._calls[watched] = call

    def _told(self) -> None:
        assert self._inotify is not None
        events = os.read(self._inotify, CHUNK)
        changed = set()
        while events:
            watched, _, _, length = _EVENT.unpack_from(events)
            changed.add(watched)
            events = events[_EVENT.size + length :]
        for watched in changed:
            if watched in self._calls:
                self._calls[watched]()

    def _look_again(self, fd: int, call: Callable[[], None]) -> None:
        call()
        self._loop.after(_LOOK_AGAIN, lambda: self._look_again(fd, call))
