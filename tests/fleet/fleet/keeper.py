"""The keeper: the process that owns the engine and the hosts of all test sessions of a user.

Test processes connect to its socket and speak JSON, one line a request, one line an answer. A connection *is* the
claim of a session to what it got: the kernel closes it however the process ends, and the keeper then removes what was
the session's. It ends when the last session has."""

from __future__ import annotations

import argparse
import dataclasses
import fcntl
import itertools
import json
import os
import signal
import socketserver
import sys
import threading
from pathlib import Path
from typing import Any

from fleet import images
from fleet.client import PROTOCOL
from fleet.containers import ContainerHost
from fleet.engine import Docker, PrivateEngine
from fleet.errors import FleetError, FleetUnavailable
from fleet.places import short
from fleet.pool import Image, Session

IDLE = 20.0
"""Seconds that a fresh keeper waits for whoever started it."""


class Keeper:
    """The sessions of one engine."""

    def __init__(self, docker: Docker, folder: Path) -> None:
        self.docker = docker
        self._folder = folder / "sessions"
        self._label = f"harness-fleet.keeper={short(str(folder))}"
        self._image = Image(docker)
        self._sessions: dict[str, Session] = {}
        self._changed = threading.Condition()
        self._ending = 0
        self._visited = False
        self._closed = False
        docker.remove_containers(f"label={self._label}")

    def join(self, name: str, pin: bool) -> Session | None:
        """A connection's session. None: too late, the keeper is about to end."""
        with self._changed:
            if self._closed:
                return None
            session = self._sessions.get(name)
            if session is None:
                session = Session(name, self.docker, self._folder, self._label, self._image)
                self._sessions[name] = session
            session.connections += 1
            session.pinned |= pin
            self._visited = True
            self._changed.notify_all()
            return session

    def leave(self, session: Session, unpin: bool = False) -> None:
        with self._changed:
            session.connections -= 1
            session.pinned &= not unpin
            if session.connections or session.pinned:
                return
            del self._sessions[session.name]
            self._ending += 1
        try:
            session.end()
        finally:
            with self._changed:
                self._ending -= 1
                self._changed.notify_all()

    def wait(self) -> None:
        """Until the last session has ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._visited, IDLE)
            self._changed.wait_for(lambda: not self._sessions and not self._ending)
            self._closed = True

    def end(self) -> None:
        """End all sessions, whoever still has them."""
        for session in list(self._sessions.values()):
            session.end()


class Conversation(socketserver.StreamRequestHandler):
    """One connection of a test process."""

    server: Server

    def handle(self) -> None:
        request = self._read()
        if request is None:
            return
        if request["protocol"] != PROTOCOL:
            self._answer({"error": f"the keeper that runs is of another version: end process {os.getpid()}"})
            return
        keeper = self.server.keeper
        session = keeper.join(request["session"], request["pin"])
        if session is None:
            return
        unpin = False
        leases: dict[int, list[ContainerHost]] = {}
        numbers = itertools.count(1)
        try:
            self._answer({"docker_host": keeper.docker.host, "folder": str(session.folder)})
            while (request := self._read()) is not None:
                if request["do"] == "lease":
                    try:
                        leased = session.lease(request["count"], request["systemd"])
                    except FleetError as error:
                        self._answer({"error": str(error)})
                        continue
                    number = next(numbers)
                    leases[number] = leased
                    self._answer({"lease": number, "hosts": [_encoded(host) for host in leased]})
                elif request["do"] == "release":
                    session.release(leases.pop(request["lease"]), request["keep"])
                    self._answer({})
                elif request["do"] == "end":
                    unpin = True
                    self._answer({"pinned": session.pinned})
        except ConnectionError:
            pass  # the process has ended: that is the ordinary way to leave
        finally:
            if not session.pinned:
                for leased in leases.values():
                    session.release(leased, keep=False)
            keeper.leave(session, unpin)

    def _read(self) -> dict[str, Any] | None:
        line = self.rfile.readline()
        return json.loads(line) if line else None

    def _answer(self, answer: dict[str, Any]) -> None:
        self.wfile.write(json.dumps(answer).encode() + b"\n")


def _encoded(host: ContainerHost) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in dataclasses.asdict(host).items()}


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, path: Path, keeper: Keeper) -> None:
        self.keeper = keeper
        path.unlink(missing_ok=True)
        super().__init__(str(path), Conversation)


def keep(folder: Path, docker_host: str, ready: int) -> None:
    """Keep until nobody needs it. `docker_host` is "" for an engine of our own. `ready` is told "" or what is wrong."""
    # One keeper at a time: another one may be about to end.
    lock = (folder / "keeper.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    private = None
    socket = folder / "keeper.sock"
    try:
        try:
            private = None if docker_host else PrivateEngine(folder)
            docker = private.docker if private else Docker(docker_host)
            images.base(docker)
            keeper = Keeper(docker, folder)
            server = Server(socket, keeper)
        except FleetError as error:
            os.write(ready, json.dumps([str(error), isinstance(error, FleetUnavailable)]).encode())
            return
        threading.Thread(target=server.serve_forever, daemon=True).start()
        os.write(ready, b"[]")
        os.close(ready)
        try:
            keeper.wait()
        finally:
            socket.unlink()
            server.shutdown()
            server.server_close()
            keeper.end()
    finally:
        if private:
            private.stop()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--docker-host", default="")
    parser.add_argument("--ready", type=int, required=True)
    arguments = parser.parse_args()
    if os.fork():
        os._exit(0)  # nobody's child: it outlives whoever started it
    os.setsid()
    os.chdir("/")
    log = os.open(arguments.folder / "keeper.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep(arguments.folder, arguments.docker_host, arguments.ready)


if __name__ == "__main__":
    main()
