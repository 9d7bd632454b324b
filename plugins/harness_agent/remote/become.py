"""An agent of root, started through sudo, to whom requests are passed on as they are."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Callable, Mapping

from . import boot
from .children import Child, Children
from .connection import Connection
from .frames import MAGIC, Frame, Header
from .loop import Loop

_LONGEST_COMPLAINT = 4096


class RootAgent:
    """sudo gets the password, if any, as all of its stdin: with a wrong one it tries once and ends. Its stdout is a
    socket, on which the agent is sent and served once sudo has let us in."""

    def __init__(self, loop: Loop, children: Children, source: bytes) -> None:
        self._loop, self._children, self._source = loop, children, source
        self._pending: dict[int, Connection] = {}
        self._waiting: list[Callable[[Header], None]] = []
        self._complaint = b""
        self._said = b""
        self._listening = -1
        self._socket: socket.socket | None = None
        self._connection: Connection | None = None

    def open(self, env: Mapping[str, str], cwd: str, password: bytes | None, answer: Callable[[Header], None]) -> None:
        """`answer` gets {} once it serves, or an error that says what sudo said. Raises OSError."""
        if self._connection is not None:
            answer({})
            return
        self._waiting.append(answer)
        if self._socket is not None:
            return
        words = ["-n"] if password is None else ["-S", "-p", ""]
        command = ["sudo", *words, "--", *boot.argv(sys.executable, boot.ROOT)]
        ours, theirs = socket.socketpair()
        input_read, input_write = os.pipe()
        self._listening, complaints = os.pipe()
        os.write(input_write, b"" if password is None else password + b"\n")
        os.close(input_write)
        try:
            self._children.spawn("root agent", command, env, cwd, [input_read, theirs.fileno(), complaints], self._gone)
        except BaseException:
            ours.close()
            os.close(self._listening)
            raise
        finally:
            theirs.close()
            os.close(input_read)
            os.close(complaints)
        self._socket, self._said = ours, b""
        self._loop.watch(self._listening, read=self._complain)
        self._loop.watch(ours.fileno(), read=self._greet)
        ours.settimeout(None)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has ended already: that is told
            ours.sendall(boot.packed(self._source))

    def forward(self, connection: Connection, request: Header, body: bytes) -> None:
        """Pass a request on; its answer goes to the connection that it came from. Raises PermissionError."""
        if self._connection is None:
            raise PermissionError("nobody has become root here")
        if "id" in request:
            self._pending[request["id"]] = connection
        self._connection.say(request, body)

    def close(self) -> None:
        """At the end of its connection it ends all that it started, and itself."""
        if self._connection is not None:
            self._connection.close()

    def _greet(self) -> None:
        """Until it has said MAGIC and served its greeting, it is not there."""
        assert self._socket is not None
        try:
            said = self._socket.recv(65536)
        except ConnectionResetError:  # it ended without reading what we sent
            said = b""
        self._said += said
        if not said:
            self._loop.watch(self._socket.fileno())  # sudo is about to end, and to say why
        elif MAGIC in self._said:
            rest = self._said.partition(MAGIC)[2]
            self._connection = Connection(
                self._loop, self._socket.fileno(), self._socket.detach(), self._heard, self._lost
            )
            self._connection.begin(rest)
            self._answer({})

    def _heard(self, _: Connection, frame: Frame) -> None:
        header, body = frame
        number = header.get("id")
        if number in self._pending:
            connection = self._pending[number]
            connection.say(header, body)
            if "part" not in header:
                del self._pending[number]
            if header.get("bridged") and self._connection is not None:
                connection.bridge(self._connection)

    def _complain(self) -> None:
        said = os.read(self._listening, _LONGEST_COMPLAINT)
        self._complaint = (self._complaint + said)[-_LONGEST_COMPLAINT:]
        if not said:
            self._loop.watch(self._listening)
            os.close(self._listening)
            self._listening = -1

    def _lost(self, _: Connection) -> None:
        self._connection = None
        pending, self._pending = self._pending, {}
        for number, connection in pending.items():
            connection.say({"id": number, "error": "the agent of root has ended", "kind": "refused"})

    def _gone(self, child: Child) -> None:
        if self._listening >= 0:  # its end can be known before its last words
            os.set_blocking(self._listening, False)
            with contextlib.suppress(BlockingIOError):
                while self._listening >= 0:
                    self._complain()
        if self._connection is None and self._socket is not None and self._socket.fileno() >= 0:
            self._loop.watch(self._socket.fileno())
            self._socket.close()
        self._socket = None
        said = " ".join(self._complaint.decode(errors="replace").split())
        self._complaint = b""
        self._answer({"error": f"sudo does not let us become root: {said or child.exit}", "kind": "refused"})

    def _answer(self, answer: Header) -> None:
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call(answer)
