"""A real sshd on 127.0.0.1, made and ended in milliseconds, and runs on it. The fleet's containers are for what needs
a machine."""

from __future__ import annotations

import contextlib
import getpass
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest

from fleet.command import which
from fleet.errors import FleetUnavailable
from fleet.packages import ensure
from harness.api import (
    Access,
    Connection,
    Deployment,
    DeployRequest,
    HostSpec,
    Link,
    MachineCapability,
    NodeSpec,
    Placement,
    PlannedNode,
    ServiceSpec,
)
from harness.testing.fakes import FakeChain, FakeChainConfig
from harness.testing.waiting import eventually, wait_until
from harness_ssh.deployer import SshConfig, SshDeployer

LEASE = 4.0
WITHIN = 30.0
"""Seconds for a thing to come true; generous, as the machine may be busy."""

TALKER = """
import socket, sys, time
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
server.settimeout(0.05)
number = 0
while True:
    number += 1
    print("line", number, flush=True)
    try:
        caller = server.accept()[0]
        caller.sendall(b"hello")
        caller.close()
    except TimeoutError:
        pass
"""


PROGRAMS = {"ssh": "openssh-client", "ssh-keygen": "openssh-client", "sshd": "openssh-server"}
"""What is needed, with the Debian packages that bring it."""


def keygen(path: Path, *, kind: str = "ed25519", passphrase: str = "") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", path.name, "-f", str(path)], check=True)
    return path


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
        wait_until(self._listens, "the server listens")

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


class Kit:
    """What these tests have in common: one machine, and runs on it."""

    lease = LEASE
    """Seconds."""

    def __init__(self, sshd: Any, folder: Path) -> None:
        self.sshd = sshd
        self.folder = folder
        self.state = folder / "state"
        self.warnings: list[str] = []
        self.access = Access(warn=lambda machine, text: self.warnings.append(f"{machine}: {text}"))

    @property
    def host(self) -> HostSpec:
        return HostSpec("node01", self.sshd.variables())

    def deployer(self, lease: float = LEASE, **options: Any) -> SshDeployer:
        # Shorter than users may say: these tests wait for leases to end.
        return SshDeployer(SshConfig(state=str(self.state), **options).model_copy(update={"lease": lease}))

    def planned(self, *names: str, host: HostSpec | None = None) -> tuple[PlannedNode, ...]:
        return tuple(
            PlannedNode(NodeSpec(name, "v", number, number), host or self.host, ("p2p", "api"), "p2p")
            for number, name in enumerate(names)
        )

    def deploy(
        self,
        *names: str,
        run_id: str = "run",
        links: Sequence[Link] = (),
        nodes: Sequence[PlannedNode] = (),
        lease: float = LEASE,
        needs: frozenset[MachineCapability] = frozenset(),
        by: str = "auto",
        **options: Any,
    ) -> AbstractAsyncContextManager[Deployment]:
        request = DeployRequest(
            run_id,
            self.run_dir(run_id),
            tuple(nodes) or self.planned(*names),
            tuple(links),
            FakeChain(FakeChainConfig()),
            self.access,
            needs,
        )
        return self.deployer(lease, links=by, **options).deploy(request)

    def run_dir(self, run_id: str = "run") -> Path:
        path = self.folder / run_id
        path.mkdir(exist_ok=True)
        return path

    def talker(self, place: Placement) -> ServiceSpec:
        argv = (place.machine.python, "-I", "-S", "-u", "-c", TALKER, str(place.ports["api"]))
        return ServiceSpec(place.node.name, argv, place.directory, self.run_dir() / f"{place.node.name}.log")

    def log(self, node: str) -> str:
        path = self.run_dir() / f"{node}.log"
        return path.read_text() if path.exists() else ""

    def left(self) -> list[Path]:
        """What is on the machine of any run."""
        return [Path(folder) / name for folder, *names in os.walk(self.state) for some in names for name in some]

    until = staticmethod(eventually)

    @staticmethod
    def alive(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
        except FileNotFoundError:
            return False

    async def calls(self, deployment: Deployment, node: str) -> None:
        """Until the node answers."""
        with anyio.fail_after(WITHIN):
            while await self._call(deployment, node) != b"hello":
                await anyio.sleep(0.05)

    async def _call(self, deployment: Deployment, node: str) -> bytes:
        address = deployment.endpoint(node, "api")
        try:
            async with await anyio.connect_tcp(address.host, address.port) as stream:
                return await stream.receive()
        except (OSError, anyio.EndOfStream, anyio.BrokenResourceError):
            return b""


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


@pytest.fixture
def kit(sshd: Sshd, tmp_path: Path) -> Kit:
    return Kit(sshd, tmp_path)
