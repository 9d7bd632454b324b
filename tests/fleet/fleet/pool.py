"""The hosts of one session: started when asked for, leased to one test at a time, removed with the session."""

from __future__ import annotations

import itertools
import shutil
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fleet import containers, images
from fleet.containers import ContainerHost
from fleet.engine import Docker
from fleet.host import Keys

MOST = 8
"""Hosts of a kind that a session of tests has at once, unless one lease asks for more: memory is finite."""


class Session:
    """What one test session owns. Safe for threads."""

    def __init__(self, name: str, docker: Docker, folder: Path, label: str, image: Callable[[], str]) -> None:
        self.name = name
        self.connections = 0
        self.pinned = False
        self._docker = docker
        self._image = image
        self._labels = [label, f"harness-fleet.session={name}"]
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix=f"{name[:12]}-", dir=folder))
        self._keys = Keys(self.folder)
        self._numbers = itertools.count(1)
        self._changed = threading.Condition()
        self._free: list[ContainerHost] = []
        self._count = {True: 0, False: 0}

    def lease(self, count: int, systemd: bool) -> list[ContainerHost]:
        """So many hosts, for nobody else. Waits for those of others when there are enough of them already."""
        with self._changed:
            while True:
                free = [host for host in self._free if host.systemd is systemd][:count]
                missing = count - len(free)
                if missing == 0 or self.pinned or self._count[systemd] + missing <= max(MOST, count):
                    break
                self._changed.wait()
            for host in free:
                self._free.remove(host)
            self._count[systemd] += missing
        ready = [host for host in free if containers.answers(host.ssh_port)]
        self._remove([host for host in free if host not in ready])
        try:
            return [*ready, *self._start(count - len(ready), systemd)]
        except BaseException:
            self.release(ready, keep=True)
            with self._changed:
                self._count[systemd] -= count - len(ready)
                self._changed.notify_all()
            raise

    def release(self, leased: list[ContainerHost], keep: bool) -> None:
        """Give hosts back; without `keep` they are removed."""
        if not keep:
            self._remove(leased)
        with self._changed:
            for host in leased:
                if keep:
                    self._free.append(host)
                else:
                    self._count[host.systemd] -= 1
            self._changed.notify_all()

    def _start(self, count: int, systemd: bool) -> list[ContainerHost]:
        if count == 0:
            return []
        image = self._image()

        def one(number: int) -> ContainerHost:
            name = f"host{number}"
            container = f"fleet-{self.folder.name}-{number}"
            return containers.start(self._docker, image, self._keys, name, container, self._labels, systemd)

        with ThreadPoolExecutor(count) as threads:
            tasks = [threads.submit(one, next(self._numbers)) for _ in range(count)]
        failed = next((task.exception() for task in tasks if task.exception()), None)
        if failed:
            self._remove([task.result() for task in tasks if not task.exception()])
            raise failed
        return [task.result() for task in tasks]

    def _remove(self, gone: list[ContainerHost]) -> None:
        if gone:
            self._docker("rm", "--force", "--volumes", *(host.container for host in gone))
            for host in gone:
                self._keys.withdraw(host.known_as)

    def end(self) -> None:
        """Remove all that it has."""
        self._docker.remove_containers(f"name=^fleet-{self.folder.name}-")
        shutil.rmtree(self.folder, ignore_errors=True)


class Image:
    """The hosts' image, made once by whoever asks first."""

    def __init__(self, docker: Docker) -> None:
        self._docker = docker
        self._making = threading.Lock()
        self._tag = ""

    def __call__(self) -> str:
        with self._making:
            if not self._tag:
                self._tag = images.host(self._docker)
            return self._tag
