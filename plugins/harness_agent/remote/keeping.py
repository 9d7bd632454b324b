"""From an agent that is attached to the keeper of a run: started where there is none yet, then only passed on to."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Sequence

from . import boot, ledger, systemd
from .connection import Connection
from .frames import Decoder, Header, encode
from .keeper import connect
from .loop import Timer
from .runs import Run
from .state import Place
from .users import User

if TYPE_CHECKING:
    from .agent import Agent

STARTED_WITHIN = 45.0
"""Seconds in which a keeper must have said whether it can be: it may have to undo what others left."""


class Gone(ValueError):
    """There is no keeper of this run."""

    kind = "gone"


START = ".start-"
ABANDONED_AFTER = 4 * STARTED_WITHIN
"""Seconds after which the files of a start are nobody's any more."""


def keep(agent: Agent, connection: Connection, request: Header) -> None:
    """Answers when this connection is one with the keeper: all that follows is the keeper's. With `resume` none is
    started. Raises Gone, OSError, ValueError."""
    place = Place.of(request["base"], os.geteuid(), os.getegid())
    run = Run(place, request["run"])
    if not _pass_on(agent, run, connection, request):
        if request["resume"]:
            raise Gone("its keeper has ended, and all that it held")
        Start(agent, run, connection, request)


def _pass_on(agent: Agent, run: Run, connection: Connection, request: Header) -> bool:
    connected = connect(run)
    if connected is None:
        return False
    connection.say({"id": request["id"], "bridged": True})
    fd = connected.detach()
    agent.bridge(connection, fd)
    return True


def _clean_up(home: str) -> None:
    """Remove the files of starts whose agent was killed before it could: they would keep the folder for ever."""
    for name in os.listdir(home):
        path = os.path.join(home, name)
        with contextlib.suppress(FileNotFoundError):  # another agent has been quicker
            if name.startswith(START) and time.time() - os.lstat(path).st_mtime > ABANDONED_AFTER:
                os.unlink(path)


class Start:
    """Of a keeper, which is given its program and what to keep through a file, and says through a pipe with a name
    how that went: it is no child of ours that would end with us, and under systemd nobody's at all."""

    def __init__(self, agent: Agent, run: Run, connection: Connection, request: Header) -> None:
        self._agent, self._run = agent, run
        self._connection, self._request = connection, request
        self._manager = systemd.manager(request["mechanism"])
        run.place.make()
        _clean_up(run.place.home)
        stem = os.path.join(run.place.home, f"{START}{os.urandom(8).hex()}")
        self._pipe, self._program = f"{stem}.pipe", f"{stem}.program"
        self._decoder = Decoder()
        try:
            os.mkfifo(self._pipe, 0o600)
            self._listening = os.open(self._pipe, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            self._write_program(request)
            self._start()
        except BaseException:
            self._clean()
            raise
        self._timer: Timer = agent.loop.after(STARTED_WITHIN, lambda: self._refuse("the keeper does not start"))
        agent.loop.watch(self._listening, read=self._hear)

    def _write_program(self, request: Header) -> None:
        login = request.get("login") or {"user": self._agent.user.name, "env": self._agent.user.env}
        config: dict[str, Any] = {key: request[key] for key in ("run", "owner", "lease", "base")}
        manager = self._manager
        config.update(
            login,
            mechanism="child" if manager is None else "systemd-user" if manager.user else "systemd",
            unit=systemd.keeper_unit(self._run.name),
            since=time.time(),
            ready=self._pipe,
            program=self._program,
        )
        content = boot.packed(self._agent.source) + encode(config)
        fd = os.open(self._program, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(content)

    def _start(self) -> None:
        argv = boot.argv(sys.executable, boot.KEEPER)
        if self._manager is not None:
            self._start_unit(self._manager, argv)
            return
        with open(self._program, "rb") as program:
            process = subprocess.Popen(
                argv,
                stdin=program,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        process.returncode = 0  # collected as a child like any other, if it ends before us

    def _start_unit(self, manager: systemd.Manager, argv: Sequence[str]) -> None:
        """Its guardian is in the same unit, and is to survive the keeper: only this is killed when the unit ends."""
        properties = [
            f"Description=harness: keeper of run {self._run.name}",
            f"StandardInput=file:{self._program}",
            "KillMode=process",
            "CollectMode=inactive-or-failed",
        ]
        command = systemd.start_command(manager, systemd.keeper_unit(self._run.name), properties, argv)

        def audit(record: Header) -> None:
            self._connection.say(record)

        status, said, error = ledger.run(command, User("", manager.environment()), audit, not manager.user)
        if status != 0:
            raise OSError(error or said)

    def _hear(self) -> None:
        data = os.read(self._listening, 65536)
        for header, _ in self._decoder.feed(data):
            self._finish()
            if "error" in header:
                self._connection.say({"id": self._request["id"], **header})
            elif not _pass_on(self._agent, self._run, self._connection, self._request):
                self._refuse("the keeper has ended as soon as it had started")

    def _refuse(self, why: str) -> None:
        self._finish()
        self._connection.say({"id": self._request["id"], "error": why, "kind": "refused"})

    def _finish(self) -> None:
        self._timer.cancel()
        self._agent.loop.watch(self._listening)
        with contextlib.suppress(OSError):
            os.close(self._listening)
        self._clean()

    def _clean(self) -> None:
        for path in (self._pipe, self._program):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
