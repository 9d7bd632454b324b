"""Hosts: containers that one reaches by ssh, as one reaches bare metal."""

from __future__ import annotations

import dataclasses
import io
import json
import shlex
import socket
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fleet.command import run
from fleet.engine import Docker
from fleet.errors import FleetError
from fleet.images import OPS_PASSWORD

USERS = {"root": 0, "deploy": 1001, "ops": 1002}
START = 60.0
"""Seconds until a host's sshd must answer."""


@dataclass(frozen=True, slots=True)
class Host:
    """A host that one reaches by ssh, at a port of this machine.

    Users: `root`, `deploy` (sudo without a password), `ops` (password and sudo with `ops_password`), all with `key`.
    `address` is where other hosts reach it. `known_hosts` holds its real host key. `container` names it to Docker."""

    name: str
    ssh_host: str
    ssh_port: int
    user: str
    key: Path
    known_hosts: Path
    address: str
    systemd: bool
    container: str
    docker_host: str

    ops_password = OPS_PASSWORD

    def as_user(self, user: str) -> Host:
        """The same host for another user."""
        return dataclasses.replace(self, user=user)

    @property
    def ssh(self) -> tuple[str, ...]:
        """The argv with which OpenSSH runs a command there; the command's words follow."""
        options = (f"UserKnownHostsFile={self.known_hosts}", "StrictHostKeyChecking=yes", "BatchMode=yes")
        flags = [word for option in options for word in ("-o", option)]
        where = ("-p", str(self.ssh_port), "-i", str(self.key), f"{self.user}@{self.ssh_host}")
        return ("ssh", "-F", "none", *flags, *where)

    def exec(self, *argv: str, input: bytes = b"", check: bool = True) -> subprocess.CompletedProcess[bytes]:
        """Run a command there as root, past ssh: to look at a host whatever became of its sshd."""
        docker = ("docker", "--host", self.docker_host, "exec", "--interactive", self.container)
        return subprocess.run((*docker, *argv), input=input, capture_output=True, check=check)

    def variables(self) -> dict[str, str | int]:
        """Its variables in an inventory."""
        return {
            "ansible_connection": "ssh",
            "ansible_host": self.ssh_host,
            "ansible_port": self.ssh_port,
            "ansible_user": self.user,
            "ansible_ssh_private_key_file": str(self.key),
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={shlex.quote(str(self.known_hosts))}",
            "harness_address": self.address,
        }


def inventory(hosts: Iterable[Host], **variables: str | int | bool) -> str:
    """A TOML inventory of these hosts; `variables` are those of all of them."""
    lines = [f"[all.hosts.{json.dumps(host.name)}]\n{_assignments(host.variables())}" for host in hosts]
    if variables:
        lines.append(f"[all.vars]\n{_assignments(variables)}")
    return "\n".join(lines)


def _assignments(values: dict[str, str | int] | dict[str, str | int | bool]) -> str:
    # A string of JSON is one of TOML.
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())


class Keys:
    """The keys of a session, in its folder: the clients', and those by which its hosts are known."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.client = folder / "id_ed25519"
        self.known_hosts = folder / "known_hosts"
        self._known: dict[int, str] = {}
        self._writing = threading.Lock()
        _generate(self.client, "fleet")
        self.known_hosts.touch()

    def host(self, name: str) -> Path:
        """A fresh host key."""
        path = self.folder / f"{name}.host_key"
        _generate(path, name)
        return path

    def publish(self, ssh_port: int, address: str, key: Path) -> None:
        """Write into known_hosts that this key answers there."""
        kind, public, _ = key.with_name(key.name + ".pub").read_text().split()
        self._write(ssh_port, f"[127.0.0.1]:{ssh_port},{address} {kind} {public}\n")

    def withdraw(self, ssh_port: int) -> None:
        """Nobody answers there any more: the port may become another host's."""
        self._write(ssh_port, None)

    def _write(self, ssh_port: int, line: str | None) -> None:
        with self._writing:
            self._known.pop(ssh_port, None)
            if line:
                self._known[ssh_port] = line
            # Whole or not at all: clients read it at any moment.
            fresh = self.known_hosts.with_suffix(".new")
            fresh.write_text("".join(self._known.values()))
            fresh.replace(self.known_hosts)


def _generate(path: Path, comment: str) -> None:
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)])


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
    flags = ["--cap-add=SYS_ADMIN", "--cap-add=NET_ADMIN", "--cap-add=SYS_TIME", "--security-opt=seccomp=unconfined"]
    flags += ["--tmpfs=/run", "--tmpfs=/run/lock"]
    if docker("info", "--format", "{{.CgroupVersion}}") == "2":
        # The unified hierarchy is one mount, so that systemd writes to it or not at all.
        return [*flags, "--cgroupns=host", "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw"]
    return [*flags, "--volume=/sys/fs/cgroup:/sys/fs/cgroup:ro"]


def start(docker: Docker, image: str, keys: Keys, name: str, container: str, labels: list[str], systemd: bool) -> Host:
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
    keys.publish(port, address, key)
    return Host(
        name, "127.0.0.1", port, "root", keys.client, keys.known_hosts, address, systemd, container, docker.host
    )


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
