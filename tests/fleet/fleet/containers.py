"""Hosts that are containers, reached by ssh as one reaches bare metal."""

from __future__ import annotations

import io
import socket
import subprocess
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path

from fleet.engine import Docker
from fleet.errors import FleetError
from fleet.host import Host, Keys
from fleet.images import OPS_PASSWORD

USERS = {"root": 0, "deploy": 1001, "ops": 1002}
START = 60.0
"""Seconds until a host's sshd must answer."""


@dataclass(frozen=True, slots=True)
class ContainerHost(Host):
    """A host that is a container, reached at a port of this machine.

    Users: `root`, `deploy` (sudo without a password), `ops` (password and sudo with `ops_password`), all with `key`.
    `container` names it to Docker."""

    systemd: bool
    container: str
    docker_host: str

    ops_password = OPS_PASSWORD

    @property
    def known_as(self) -> str:
        """What known_hosts calls it."""
        return f"[{self.ssh_host}]:{self.ssh_port},{self.address}"

    def exec(self, *argv: str, input: bytes = b"", check: bool = True) -> subprocess.CompletedProcess[bytes]:
        """Run a command there as root, past ssh: to look at a host whatever became of its sshd."""
        docker = ("docker", "--host", self.docker_host, "exec", "--interactive", self.container)
        return subprocess.run((*docker, *argv), input=input, capture_output=True, check=check)


def _files(client: Path, host_key: Path) -> bytes:
    """A tar of what makes an image this host: its own key, and whom it lets in."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:

        def add(name: str, content: bytes | None, owner: int, mode: int) -> None:
            entry = tarfile.TarInfo(name)
            entry.uid = entry.gid = owner
            entry.mode = mode
            entry.mtime = int(time.time())
            if content is None:
                entry.type = tarfile.DIRTYPE
                tar.addfile(entry)
            else:
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))

        add("etc/ssh/ssh_host_ed25519_key", host_key.read_bytes(), 0, 0o600)
        add("etc/ssh/ssh_host_ed25519_key.pub", host_key.with_name(host_key.name + ".pub").read_bytes(), 0, 0o644)
        for user, number in USERS.items():
            home = "root" if user == "root" else f"home/{user}"
            add(f"{home}/.ssh", None, number, 0o700)
            add(f"{home}/.ssh/authorized_keys", client.with_name(client.name + ".pub").read_bytes(), number, 0o600)
    return packed.getvalue()


def _flags(docker: Docker, systemd: bool) -> list[str]:
    if not systemd:
        return ["--init", "--cap-add=NET_ADMIN"]
    flags = ["--cap-add=SYS_ADMIN", "--cap-add=NET_ADMIN", "--security-opt=seccomp=unconfined"]
    flags += ["--tmpfs=/run", "--tmpfs=/run/lock"]
    if docker("info", "--format", "{{.CgroupVersion}}") == "2":
        # The unified hierarchy is one mount, so that systemd writes to it or not at all.
        return [*flags, "--cgroupns=host", "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw"]
    return [*flags, "--volume=/sys/fs/cgroup:/sys/fs/cgroup:ro"]


def start(
    docker: Docker, image: str, keys: Keys, name: str, container: str, labels: list[str], systemd: bool
) -> ContainerHost:
    """Start one host and wait until it is ready: sshd answers and, with systemd, all of its start is done.

    Raises FleetError, the container having been removed."""
    key = keys.host(name)
    command = ["/sbin/init"] if systemd else ["/usr/sbin/sshd", "-D", "-e"]
    docker(
        *("create", "--name", container, "--hostname", name, "--publish=127.0.0.1::22"),
        *(f"--label={label}" for label in labels),
        *_flags(docker, systemd),
        *(image, *command),
    )
    try:
        docker("cp", "-", f"{container}:/", input=_files(keys.client, key))
        docker("start", container)
        port = int(docker("port", container, "22/tcp").rpartition(":")[2])
        address = docker("inspect", "--format", "{{.NetworkSettings.IPAddress}}", container)
        _wait(docker, port, container)
        if systemd:
            # Its exit status says how well; a unit that failed is a matter for whoever looks at the host.
            docker("exec", container, "sh", "-c", "systemctl is-system-running --wait || true")
    except BaseException:
        docker("rm", "--force", "--volumes", container)
        raise
    where = (name, "127.0.0.1", port, "root", keys.client, keys.known_hosts, address)
    host = ContainerHost(*where, systemd, container, docker.host)
    keys.publish(host.known_as, key)
    return host


def answers(port: int, patience: float = 5.0) -> bool:
    """Whether an sshd says its name at this port. Docker's proxy accepts connections before there is one."""
    try:
        with socket.create_connection(("127.0.0.1", port), patience) as connection:
            connection.settimeout(patience)
            return connection.recv(8).startswith(b"SSH-")
    except OSError:
        return False


def _wait(docker: Docker, port: int, container: str) -> None:
    deadline = time.monotonic() + START
    while not answers(port):
        if time.monotonic() > deadline:
            log = docker("logs", "--tail=30", container)
            raise FleetError(f"the sshd of {container} does not answer within {START:g} s: {log}")
        time.sleep(0.05)
