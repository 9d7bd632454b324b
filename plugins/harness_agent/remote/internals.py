"""Commands of our own, which nobody asked for by name: run without waiting for them, and told for the audit."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Callable, Mapping, Optional, Sequence

from .children import Child, Children
from .loop import Loop, Timer
from .processes import kill_group
from .services import Tell

_WITHIN = 60.0
_SAID = 2000

Done = Callable[[Optional[int], str], None]


class Internals:
    """`done` gets the status, None where there is none, and what was said."""

    def __init__(self, loop: Loop, children: Children, env: Mapping[str, str], user: str, tell: Tell) -> None:
        self._loop, self._children = loop, children
        self._env, self._user, self._tell = env, user, tell
        self._closed = False

    def close(self) -> None:
        """From now on nothing is run any more: everything is being ended."""
        self._closed = True

    def run(self, argv: Sequence[str], done: Done) -> None:
        if self._closed:
            done(None, "")
            return
        began = time.monotonic()
        said = bytearray()
        listening, saying = os.pipe()
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        timer: Timer | None = None

        def audit(status: int | None, error: str) -> None:
            seconds = time.monotonic() - began
            record = {"argv": list(argv), "returncode": status, "seconds": seconds, "user": self._user, "error": error}
            self._tell({"event": "audit", **record})

        def hear() -> None:
            data = os.read(listening, 65536)
            said.extend(data)
            if not data:
                self._loop.watch(listening)

        def gone(child: Child) -> None:
            if timer is not None:
                timer.cancel()
            self._loop.watch(listening)
            os.set_blocking(listening, False)
            with contextlib.suppress(BlockingIOError):  # somebody else has it open: what has come is all
                said.extend(os.read(listening, 65536))
            os.close(listening)
            status = child.exit["code"] if child.exit["code"] is not None else -child.exit["signal"]
            audit(status, "")
            done(status, said[-_SAID:].decode(errors="replace").strip())

        try:
            child = self._children.spawn(f"command {argv[0]}", argv, self._env, "/", [nothing, saying, saying], gone)
        except OSError as error:
            os.close(listening)
            audit(None, str(error))
            done(None, str(error))
            return
        finally:
            os.close(saying)
            os.close(nothing)
        self._loop.watch(listening, read=hear)
        timer = self._loop.after(_WITHIN, lambda: kill_group(child.pid))
