"""A test process's connection to the keeper, which it starts when there is none."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fleet import packages
from fleet.containers import ContainerHost
from fleet.engine import answering, private_host
from fleet.errors import FleetError, FleetUnavailable
from fleet.places import cache, short

PROTOCOL = 1
"""Counts up when this side and the keeper would misunderstand each other."""
PATIENCE = 900.0
"""Seconds for an answer: the first one has packages installed and images built."""


class KeeperEnded(FleetError):
    """The keeper is no more."""


class Fleet:
    """A session's claim to an engine and to hosts. What it gets is gone when its last connection is."""

    def __init__(self, session: str, *, pin: bool = False) -> None:
        """Join a session, or begin it. With `pin` it goes on without a connection, until `end`.

        Raises FleetUnavailable where there can be no fleet, FleetError when it fails."""
        self._asking = threading.Lock()
        while True:
            self._socket = _connect()
            self._answers = self._socket.makefile("rb")
            try:
                welcome = self._ask(protocol=PROTOCOL, session=session, pin=pin)
                break
            except KeeperEnded:
                self.close()  # it was about to end: the next one waits until it has
            except BaseException:
                self.close()
                raise
        self.docker_host: str = welcome["docker_host"]
        """For DOCKER_HOST: the engine; it has debian:bookworm-slim."""
        self.folder = Path(welcome["folder"])
        """Keys and known_hosts of the session."""

    def lease(self, count: int, *, systemd: bool = True) -> tuple[int, list[ContainerHost]]:
        """So many hosts for nobody else, until they are released. Waits for those of others.

        Whoever needs several asks for all of them at once: two that each wait for the other's wait for ever."""
        answer = self._ask(do="lease", count=count, systemd=systemd)
        hosts = [
            ContainerHost(**{**host, "key": Path(host["key"]), "known_hosts": Path(host["known_hosts"])})
            for host in answer["hosts"]
        ]
        return answer["lease"], hosts

    def release(self, lease: int, *, keep: bool = True) -> None:
        """Give hosts back: to the next one, or without `keep` to be removed."""
        self._ask(do="release", lease=lease, keep=keep)

    def end(self) -> bool:
        """End a session that was pinned. Says whether it was."""
        was_pinned: bool = self._ask(do="end").get("pinned", True)
        return was_pinned

    def close(self) -> None:
        """Leave the session. When this returns, what nobody has any more is gone."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
            self._answers.read()
        self._answers.close()
        self._socket.close()

    def _ask(self, **request: Any) -> dict[str, Any]:
        with self._asking:
            try:
                self._socket.sendall(json.dumps(request).encode() + b"\n")
                line = self._answers.readline()
            except ConnectionError:
                line = b""
        if not line:
            raise KeeperEnded("the fleet's keeper has ended; its log is keeper.log in the fleet's folder")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise FleetError(answer["error"])
        return answer


class HostPool:
    """The hosts of a session, of one kind."""

    def __init__(self, fleet: Fleet, *, systemd: bool) -> None:
        self._fleet = fleet
        self._systemd = systemd

    @contextlib.contextmanager
    def lease(self, count: int = 1, *, keep: bool = True) -> Iterator[list[ContainerHost]]:
        """Hosts for this test alone. A test that leaves a host other than it found it says `keep=False`: it is removed.

        A test leases once: inner leases may wait for ever."""
        number, hosts = self._fleet.lease(count, systemd=self._systemd)
        try:
            yield hosts
        finally:
            self._fleet.release(number, keep=keep)


def place_of(docker_host: str | None) -> tuple[Path, str | None]:
    """The folder of the keeper of an engine, and where the engine is: None for one of our own, also where DOCKER_HOST
    names that, as `up` tells to have it."""
    private = cache() / "private"
    if docker_host is None or docker_host == private_host(private):
        return private, None
    return cache() / f"engine-{short(docker_host)}", docker_host


def _connect() -> socket.socket:
    """A connection to the keeper of the engine that this process would use."""
    docker_host = answering()
    if docker_host is None:
        packages.ensure(packages.ENGINE)
        docker_host = answering()  # an installed package may have started one
    packages.ensure(packages.CLIENT)
    folder, docker_host = place_of(docker_host)
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / "start.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            return _dial(folder)
        except OSError:
            _start(folder, docker_host or "")
            return _dial(folder)


def _dial(folder: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(PATIENCE)
        connection.connect(str(folder / "keeper.sock"))
    except BaseException:
        connection.close()
        raise
    return connection


def _start(folder: Path, docker_host: str) -> None:
    """Start a keeper and wait until it is there."""
    reader, writer = os.pipe()
    try:
        source = str(Path(__file__).parents[1])
        argv = [sys.executable, "-m", "fleet.keeper", str(folder), f"--docker-host={docker_host}", f"--ready={writer}"]
        env = {**os.environ, "PYTHONPATH": source}
        subprocess.run(argv, pass_fds=[writer], env=env, check=True, stdin=subprocess.DEVNULL)
    finally:
        os.close(writer)
    with os.fdopen(reader) as pipe:
        told = pipe.read()
    if not told:
        raise FleetError(f"the fleet's keeper ended before it was ready: {folder / 'keeper.log'}")
    if problem := json.loads(told):
        text, unavailable = problem
        raise FleetUnavailable(text) if unavailable else FleetError(text)
