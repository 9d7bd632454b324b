"""Services: processes that are watched until they end, whoever is connected then."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from typing import Any, Callable

from .children import Child, Children
from .connection import Connection
from .files import temporary_file
from .frames import Header
from .logs import Follower, Watcher
from .loop import Loop
from .processes import look
from .users import User

_APPEND = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
_TELL_TIMEOUT = 2.0
"""Seconds that an attached process may take to read what it is told, should its socket be full."""

Tell = Callable[[Header], None]
Started = Callable[[str], None]
"""Is told why it did not start, "" if it did."""


class Service:
    """What is known of one. `exit` is how it ended, empty while it lives."""

    def __init__(self, key: str, name: str, log: int, tell: Tell) -> None:
        self.key, self.name, self.log = key, name, log
        self.pid, self.start = 0, 0.0
        self.exit: dict[str, Any] = {}
        self.signals = 0  # how many were asked for: one that is asked for again after a lost connection is sent once
        self._tell = tell
        self._followers: list[Follower] = []

    def describe(self) -> Header:
        return {"key": self.key, "pid": self.pid, "start": self.start, "exit": self.exit}

    def when_started(self, call: Started) -> None:
        """Call it when it has started or failed to, which may be now."""
        call("")

    def follow(self, connection: Connection, offset: int) -> None:
        self._followers = [follower for follower in self._followers if follower.connection.open]
        self._followers.append(Follower(self.log, offset, connection, self.key))
        self._followers[-1].look()

    def log_size(self) -> int:
        return os.fstat(self.log).st_size

    def log_changed(self) -> None:
        for follower in self._followers:
            follower.look()

    def ended(self, how: Mapping[str, Any]) -> None:
        self.exit = dict(how)
        self.log_changed()  # its last words come before the news of its end
        self._tell({"event": "exit", "key": self.key, "log": self.log_size(), **how})

    def state(self, pid: int, start: float) -> str:
        """What the kernel says now of the process that its controller knows."""
        process = look(pid)
        if process is None or process.start != start or not process.alive:
            return "gone"
        return "paused" if process.stopped else "running"

    def signal(self, number: int) -> None:
        raise NotImplementedError

    def pause(self) -> None:
        raise NotImplementedError

    def resume(self) -> None:
        raise NotImplementedError

    def say(self, line: str) -> None:
        raise ValueError(f"{self.name} is not there to be told anything")


class ChildService(Service):
    """A child of the agent."""

    def __init__(
        self,
        loop: Loop,
        children: Children,
        request: Mapping[str, Any],
        env: Mapping[str, str],
        user: User,
        log: int,
        tell: Tell,
    ) -> None:
        """`attach` in the request: its stdin and stdout are a socket whose lines pass through the agent, and the log
        gets its stderr alone."""
        super().__init__(request["key"], request["name"], log, tell)
        self._loop, self._children = loop, children
        self._channel: socket.socket | None = None
        self._heard = b""
        ours, theirs = socket.socketpair() if request.get("attach") else (None, None)
        with contextlib.ExitStack() as closing:
            if theirs is not None:
                closing.callback(theirs.close)
                files = [theirs.fileno(), theirs.fileno(), log]
            else:
                nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
                closing.callback(os.close, nothing)
                files = [nothing, log, log]
            try:
                self._child = children.spawn(
                    request["name"], request["argv"], env, request["cwd"], files, self._gone, user.identity
                )
            except BaseException:
                if ours is not None:
                    ours.close()
                raise
        self.pid, self.start = self._child.pid, self._child.start
        if ours is not None:
            ours.settimeout(_TELL_TIMEOUT)
            self._channel = ours
            loop.watch(ours.fileno(), read=self._listen)

    def signal(self, number: int) -> None:
        self._children.signal(self._child, number)

    def pause(self) -> None:
        """Also those that left its group. One that forks meanwhile is stopped when it comes back from that, so
        that looking until there is nobody new finds all."""
        stopped: list[int] = []
        while new := [pid for pid in self._children.tree(self._child) if pid not in stopped]:
            signal_each(new, signal.SIGSTOP)
            stopped += new

    def resume(self) -> None:
        signal_each(self._children.tree(self._child), signal.SIGCONT)

    def say(self, line: str) -> None:
        if self._channel is None:
            super().say(line)
        else:
            self._channel.sendall(line.encode() + b"\n")

    def _listen(self) -> None:
        if self._channel is None:
            return
        try:
            heard = self._channel.recv(65536)
        except ConnectionResetError:
            heard = b""
        *lines, self._heard = (self._heard + heard).split(b"\n")
        if not heard:
            self._drop_channel()
        for line in lines:
            self._tell({"event": "said", "key": self.key, "line": line.decode(errors="replace")})

    def _drop_channel(self) -> None:
        if self._channel is not None:
            self._loop.watch(self._channel.fileno())
            self._channel.close()
            self._channel = None

    def _gone(self, child: Child) -> None:
        if self._channel is not None:  # its end can be known before its last words
            self._channel.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while self._channel is not None:
                    self._listen()
        self._drop_channel()
        self.ended(child.exit)


class Services:
    """All of an agent, by the keys that their controller gave them: asked to spawn a key again, it does not.

    `folder` is where logs are kept whose place nobody said; without one they are files without a name."""

    def __init__(self, loop: Loop, children: Children, tell: Tell, folder: str = "") -> None:
        self.loop, self.children, self.tell = loop, children, tell
        self._folder = folder
        self._watcher = Watcher(loop)
        self._services: dict[str, Service] = {}

    def spawn(self, request: Mapping[str, Any], env: Mapping[str, str], user: User) -> Service:
        """Raises OSError, ValueError, subprocess.SubprocessError."""
        key = request["key"]
        if key not in self._services:
            path = request.get("log") or (os.path.join(self._folder, f"{key}.log") if self._folder else "")
            log = _open_log(path)
            try:
                service = self.make(request, env, user, log, path)
            except BaseException:
                os.close(log)
                raise
            self._services[key] = service
        return self._services[key]

    def close(self) -> None:
        """Begin nothing any more: everything is being ended."""

    def make(self, request: Mapping[str, Any], env: Mapping[str, str], user: User, log: int, path: str) -> Service:
        if request.get("limits"):
            raise ValueError("CPU and memory are limited under systemd only")
        return ChildService(self.loop, self.children, request, env, user, log, self.tell)

    def forget(self, service: Service) -> None:
        """One that did not start."""
        if self._services.pop(service.key, None) is service:
            os.close(service.log)

    def __getitem__(self, key: str) -> Service:
        try:
            return self._services[key]
        except KeyError:
            raise ValueError("there is no such service") from None

    def describe(self) -> Sequence[Header]:
        return [service.describe() for service in self._services.values()]

    def follow(self, key: str, connection: Connection, offset: int) -> None:
        service = self[key]
        service.follow(connection, offset)
        self._watcher.watch(service.log, service.log_changed)


def _open_log(path: str) -> int:
    if not path:
        return temporary_file()
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return os.open(path, _APPEND, 0o644)


def signal_each(pids: Sequence[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
