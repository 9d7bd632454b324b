"""What is reached by ssh, and the keys for it."""

from __future__ import annotations

import dataclasses
import json
import shlex
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from fleet.command import run


@dataclass(frozen=True, slots=True)
class Host:
    """A host that one reaches by ssh.

    `address` is where other hosts reach it, at ssh's own port. `known_hosts` holds its real host key."""

    name: str
    ssh_host: str
    ssh_port: int
    user: str
    key: Path
    known_hosts: Path
    address: str

    def as_user(self, user: str) -> Self:
        """The same host for another user."""
        return dataclasses.replace(self, user=user)

    @property
    def ssh(self) -> tuple[str, ...]:
        """The argv with which OpenSSH runs a command there; the command's words follow."""
        options = (f"UserKnownHostsFile={self.known_hosts}", "StrictHostKeyChecking=yes", "BatchMode=yes")
        flags = [word for option in options for word in ("-o", option)]
        where = ("-p", str(self.ssh_port), "-i", str(self.key), f"{self.user}@{self.ssh_host}")
        return ("ssh", "-F", "none", *flags, *where)

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


def _assignments(values: Mapping[str, str | int | bool]) -> str:
    # A string of JSON is one of TOML.
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())


class Keys:
    """The keys of a session, in its folder: the clients', and those by which its hosts are known."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.client = folder / "id_ed25519"
        self.known_hosts = folder / "known_hosts"
        self._known: dict[str, str] = {}
        self._writing = threading.Lock()
        _generate(self.client, "fleet")
        self.known_hosts.touch()

    def host(self, name: str) -> Path:
        """A fresh host key."""
        path = self.folder / f"{name}.host_key"
        _generate(path, name)
        return path

    def publish(self, where: str, key: Path) -> None:
        """Write into known_hosts that this key answers there; `where` is the pattern of sshd(8) for it."""
        kind, public, _ = key.with_name(key.name + ".pub").read_text().split()
        self._write(where, f"{where} {kind} {public}\n")

    def withdraw(self, where: str) -> None:
        """Nobody answers there any more: it may become another host's."""
        self._write(where, None)

    def _write(self, where: str, line: str | None) -> None:
        with self._writing:
            self._known.pop(where, None)
            if line:
                self._known[where] = line
            # Whole or not at all: clients read it at any moment.
            fresh = self.known_hosts.with_suffix(".new")
            fresh.write_text("".join(self._known.values()))
            fresh.replace(self.known_hosts)


def _generate(path: Path, comment: str) -> None:
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)])
