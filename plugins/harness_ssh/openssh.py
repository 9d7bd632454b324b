"""Where a connection goes: what the inventory says of a host, and OpenSSH's configuration. Blocking: for worker
threads."""

from __future__ import annotations

import getpass
import os
import re
import shlex
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.api import Connection, JumpHost, UsageError, jump_hosts
from harness_ssh.asked import Asked, Said

DEFAULT_PORT = 22


@dataclass(frozen=True)
class Destination:
    """Where a connection goes and what it is checked and authenticated with, everything decided.

    `alias` is the name that the user gave; `jumps` are passed first to last; `known_hosts` are in the order in which
    they are read, new keys going to the first. `agent` is the socket of the agent, "" for none."""

    alias: str
    hostname: str
    port: int
    user: str
    identities: tuple[Path, ...] = ()
    certificates: tuple[Path, ...] = ()
    identities_only: bool = False
    agent: str = ""
    jumps: tuple[JumpHost, ...] = ()
    proxy_command: str = ""
    host_keys: str = "check"
    host_key_alias: str = ""
    known_hosts: tuple[Path, ...] = ()
    hash_known_hosts: bool = False
    family: int = socket.AF_UNSPEC
    connect_timeout: float = 10.0
    keepalive: float = 0.0

    @cached_property
    def known_as(self) -> str:
        """Its name in known_hosts."""
        name = self.host_key_alias or self.hostname
        return name if self.port == DEFAULT_PORT or self.host_key_alias else f"[{name}]:{self.port}"

    def __str__(self) -> str:
        address = f"[{self.hostname}]" if ":" in self.hostname else self.hostname
        return f"{self.user}@{address}" + ("" if self.port == DEFAULT_PORT else f":{self.port}")


def resolve(connection: Connection, asked: Asked, config_file: Path | None = None) -> Destination:
    """What the inventory says, completed by OpenSSH's configuration (of `config_file` alone, where one is given here or
    in the inventory). Raises UsageError."""
    said = asked(connection, connection.config_file or config_file)
    host, port, user = said["hostname"][0], int(said["port"][0]), said["user"][0]
    tokens = _tokens(connection.host, host, port, user)
    jumps, command = _way(connection, said, tokens)
    return Destination(
        alias=connection.host,
        hostname=host,
        port=port,
        user=user,
        identities=tuple(_path(name, tokens) for name in said.get("identityfile", ()) if name != "none"),
        certificates=tuple(_path(name, tokens) for name in said.get("certificatefile", ()) if name != "none"),
        identities_only=_flag(said, "identitiesonly")
        if connection.identities_only is None
        else connection.identities_only,
        agent=_agent(said.get("identityagent", ["SSH_AUTH_SOCK"])[0], tokens),
        jumps=jumps,
        proxy_command=command,
        host_keys=connection.host_keys,
        host_key_alias=said.get("hostkeyalias", [""])[0],
        known_hosts=_known_hosts(connection, said, tokens),
        hash_known_hosts=_flag(said, "hashknownhosts"),
        family={"inet": socket.AF_INET, "inet6": socket.AF_INET6}.get(
            said.get("addressfamily", [""])[0], socket.AF_UNSPEC
        ),
        connect_timeout=connection.connect_timeout,
        keepalive=float(said.get("serveraliveinterval", ["0"])[0])
        if connection.keepalive is None
        else connection.keepalive,
    )


def _way(connection: Connection, said: Said, tokens: Mapping[str, str]) -> tuple[tuple[JumpHost, ...], str]:
    """Jump hosts and proxy command, of which at most one is there. What the inventory says replaces either."""
    if connection.proxy_jump is not None or connection.proxy_command is not None:
        return connection.proxy_jump or (), _expand(connection.proxy_command or "", tokens)
    command = said.get("proxycommand", ["none"])[0]
    if command != "none":
        return (), _expand(command, tokens)
    try:
        return jump_hosts(said.get("proxyjump", ["none"])[0]), ""
    except ValueError as error:
        raise UsageError(f"ProxyJump of {connection.host} in ssh's configuration: {error}") from None


def _known_hosts(connection: Connection, said: Said, tokens: Mapping[str, str]) -> tuple[Path, ...]:
    """The user's files, then the system's."""
    users = said.get("userknownhostsfile", [""])[0].split()
    own = connection.known_hosts if connection.known_hosts is not None else [_path(n, tokens) for n in users]
    system = said.get("globalknownhostsfile", [""])[0].split()
    return tuple(path for path in (*own, *map(Path, system)) if path.name != "none")


def _agent(said: str, tokens: Mapping[str, str]) -> str:
    if said == "none":
        return ""
    if said == "SSH_AUTH_SOCK":
        return os.environ.get("SSH_AUTH_SOCK", "")
    return os.environ.get(said[1:], "") if said.startswith("$") else str(_path(said, tokens))


def _flag(said: Said, keyword: str) -> bool:
    return said.get(keyword, ["no"])[0] in ("yes", "true")


def _tokens(alias: str, host: str, port: int, user: str) -> dict[str, str]:
    """ssh_config(5), TOKENS: those that can be known without a connection."""
    local = socket.gethostname()
    return {
        "%": "%", "n": alias, "h": host, "p": str(port), "r": user, "u": getpass.getuser(), "d": str(Path.home()),
        "i": str(os.getuid()), "L": local.partition(".")[0], "l": local, "k": alias,
    }  # fmt: skip


def _expand(text: str, tokens: Mapping[str, str]) -> str:
    """%-tokens, quoted where they go to a shell's command line is what proxy_argv is for: these are ssh's own rules."""
    return re.sub("%(.)", lambda match: tokens.get(match[1], match[0]), text)


def _path(name: str, tokens: Mapping[str, str]) -> Path:
    return Path(_expand(name.strip('"'), tokens)).expanduser()


def proxy_argv(command: str) -> tuple[str, ...]:
    """How ssh runs a ProxyCommand: by the user's shell, which the command replaces."""
    return (os.environ.get("SHELL", "/bin/sh"), "-c", f"exec {command}")


def keygen_remove(name: str, file: Path) -> str:
    """The command with which a user takes a key out of a known_hosts file."""
    return shlex.join(("ssh-keygen", "-f", str(file), "-R", name))
