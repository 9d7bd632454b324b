"""Commands: run to their end, their output passed on as it comes, gone with all that they started."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Mapping, Sequence
from typing import Callable

from .children import Child, Children
from .connection import Connection
from .frames import CHUNK, Header
from .light import suppress
from .loop import Loop, Timer
from .users import User

Done = Callable[[Header], None]


class Command:
    """One that runs. `done` gets what is to be answered, once nothing of it is left."""

    def __init__(
        self,
        loop: Loop,
        children: Children,
        connection: Connection,
        number: int,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        user: User,
        stdin: bytes,
        timeout: float | None,
        done: Done,
    ) -> None:
        self._loop, self._children, self._connection = loop, children, connection
        self._number, self._done = number, done
        self._refusal = ""  # why it was killed by us
        self._timer: Timer | None = None
        self._stdin = memoryview(stdin)
        self._outputs: dict[int, str] = {}
        self._began = time.monotonic()
        self._name = argv[0]
        ours, theirs = _pipes()
        try:
            self._child = children.spawn(f"command {argv[0]}", argv, env, cwd, theirs, self._gone, user.identity)
        except BaseException:
            for fd in ours:
                os.close(fd)
            raise
        finally:
            for fd in theirs:
                os.close(fd)
        self._input: int | None = ours[0]
        self._outputs = {ours[1]: "stdout", ours[2]: "stderr"}
        for fd in ours:
            os.set_blocking(fd, False)
        for fd in self._outputs:
            self._listen(fd)
        self._feed()
        if timeout is not None:
            self._timer = loop.after(timeout, lambda: self.end("timeout"))

    def end(self, why: str) -> None:
        """Kill it; `why` is the kind of error that is answered."""
        self._refusal = self._refusal or why
        self._children.kill(self._child)

    def _listen(self, fd: int) -> None:
        self._loop.watch(fd, read=lambda: self._read(fd))

    def _read(self, fd: int) -> None:
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return
        if not data:
            self._close(fd)
            return
        self._connection.say({"id": self._number, "part": self._outputs[fd]}, data)
        self._loop.watch(fd)
        self._connection.when_room(lambda: self._listen(fd) if fd in self._outputs else None)

    def _feed(self) -> None:
        if self._input is None:
            return
        try:
            while self._stdin:
                self._stdin = self._stdin[os.write(self._input, self._stdin[:CHUNK]) :]
        except BlockingIOError:
            self._loop.watch(self._input, write=self._feed)
            return
        except OSError as error:
            if error.errno != errno.EPIPE:  # one that does not want its input may leave it
                raise
        self._close_input()

    def _close_input(self) -> None:
        if self._input is not None:
            self._loop.watch(self._input)
            os.close(self._input)
            self._input = None

    def _close(self, fd: int) -> None:
        del self._outputs[fd]
        self._loop.watch(fd)
        os.close(fd)

    def _gone(self, child: Child) -> None:
        """Its pipes may still be held by a process that we may not kill: what is in them now is all."""
        if self._timer is not None:
            self._timer.cancel()
        self._close_input()
        for fd in list(self._outputs):
            with suppress(BlockingIOError):
                while data := os.read(fd, CHUNK):
                    self._connection.say({"id": self._number, "part": self._outputs[fd]}, data)
            self._close(fd)
        seconds = time.monotonic() - self._began
        if self._refusal:
            self._done({"error": f"{self._name} was killed", "kind": self._refusal, "seconds": seconds})
        else:
            code, number = child.exit["code"], child.exit["signal"]
            self._done({"returncode": code if number is None else -number, "seconds": seconds})


def _pipes() -> tuple[list[int], list[int]]:
    """Our ends and theirs of stdin, stdout and stderr."""
    (their_input, our_input), (our_output, their_output), (our_error, their_error) = os.pipe(), os.pipe(), os.pipe()
    return [our_input, our_output, our_error], [their_input, their_output, their_error]
