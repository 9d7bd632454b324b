"""A real sshd on 127.0.0.1, started and ended in milliseconds; the fleet's containers are for what needs a machine."""

from __future__ import annotations

import contextlib
import getpass
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fleet.command import which
from fleet.errors import FleetUnavailable
from fleet.packages import ensure
from harness.api import Connection

PROGRAMS = {"ssh": "openssh-client", "ssh-keygen": "openssh-client", "sshd": "openssh-server"}
"""What is needed, with the Debian packages that bring it."""


def keygen(path: Path, *, kind: str = "ed25519", passphrase: str = "") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", path.name, "-f", str(path)], check=True)
    return path


def wait_for(condition: Callable[[], object], within: float = 20.0) -> None:
    give_up = time.monotonic() + within
    while not condition():
        assert time.monotonic() < give_up, "it did not come to be in time"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Sshd:
    """An SSH server of this user, that lets in whoever has one of `authorized`'s keys."""

    folder: Path
    port: int = field(default_factory=free_port)
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.host_key = self.folder / "host_key"
        self.key = self.folder / "id"
        self.known_hosts = self.folder / "known_hosts"
        self.authorized = self.folder / "authorized_keys"
        if not self.host_key.exists():
            keygen(self.host_key)
            keygen(self.key)
            self.authorized.write_text(self.public(self.key))
            self.trust()

    @staticmethod
    def public(key: Path) -> str:
        return key.with_name(f"{key.name}.pub").read_text()

    def trust(self) -> None:
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {self.public(self.host_key)}")

    def start(self) -> None:
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        options = (
            f"HostKey={self.host_key}", f"Port={self.port}", "ListenAddress=127.0.0.1", "PidFile=none",
            f"AuthorizedKeysFile={self.authorized}", "StrictModes=no", "MaxStartups=100", "UsePAM=no", *self.options,
        )  # fmt: skip
        argv = [which("sshd") or "sshd", "-D", "-f", "/dev/null", "-E", str(self.folder / "log")]
        self.process = subprocess.Popen([*argv, *(word for option in options for word in ("-o", option))])
        wait_for(self._listens)

    def stop(self) -> None:
        """The server, and every connection that it holds."""
        if self.process is not None:
            self.cut()
            self.process.terminate()
            self.process.wait()
            self.process = None

    def cut(self) -> None:
        """Every connection is gone at once, without a word."""
        for pid in self._sessions():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def variables(self, **more: Any) -> dict[str, Any]:
        return {
            "ansible_host": "127.0.0.1",
            "ansible_port": self.port,
            "ansible_user": getpass.getuser(),
            "ansible_ssh_private_key_file": str(self.key),
            "ansible_ssh_common_args": f"-F /dev/null -o UserKnownHostsFile={self.known_hosts}",
            **more,
        }

    def connection(self, **more: Any) -> Connection:
        return Connection.of("node01", self.variables(**more))

    def _sessions(self) -> list[int]:
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in children]

    def _listens(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def make_sshd(tmp_path: Path) -> Iterator[Callable[..., Sshd]]:
    """Start SSH servers, each with a folder of its own by its name."""
    try:
        ensure(PROGRAMS)
    except FleetUnavailable as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
    started: list[Sshd] = []

    def make(name: str = "sshd", **options: Any) -> Sshd:
        sshd = Sshd(tmp_path / name, **options)
        sshd.start()
        started.append(sshd)
        return sshd

    yield make
    for sshd in started:
        sshd.stop()


@pytest.fixture(name="free_port")
def a_free_port() -> int:
    return free_port()


@pytest.fixture
def new_key(tmp_path: Path) -> Callable[..., Path]:
    """Make a private key of this name."""

    def make(name: str, **options: str) -> Path:
        return keygen(tmp_path / name, **options)

    return make


@pytest.fixture
def sshd(make_sshd: Callable[..., Sshd]) -> Sshd:
    return make_sshd()
