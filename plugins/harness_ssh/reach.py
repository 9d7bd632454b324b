"""The command by which a person gets to a host as the harness does, with OpenSSH's client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.api import Connection, JumpHost

_HOST_KEYS = {"accept-new": "accept-new", "off": "no"}


def ssh_command(said: Connection) -> tuple[str, ...]:
    """Its words. What the inventory leaves to ssh's configuration is left to it; passwords are asked for."""
    target = said.host if said.user is None else f"{said.user}@{said.host}"
    return ("ssh", *_options(said), target)


def _options(said: Connection) -> Iterator[str]:
    if said.config_file is not None:
        yield from ("-F", str(said.config_file))
    if said.port is not None:
        yield from ("-p", str(said.port))
    for key in said.keys:
        yield from ("-i", str(key))
    if said.identities_only is not None:
        yield from _option("IdentitiesOnly", "yes" if said.identities_only else "no")
    if said.proxy_jump:
        yield from ("-J", ",".join(map(_jump, said.proxy_jump)))
    elif said.proxy_jump is not None:
        yield from _option("ProxyJump", "none")
    elif said.proxy_command is not None:
        yield from _option("ProxyCommand", said.proxy_command or "none")
    if said.known_hosts is not None:
        yield from _option("UserKnownHostsFile", " ".join(map(_quoted, said.known_hosts)))
    if said.host_keys in _HOST_KEYS:
        yield from _option("StrictHostKeyChecking", _HOST_KEYS[said.host_keys])


def _option(name: str, value: str) -> tuple[str, str]:
    return "-o", f"{name}={value}"


def _quoted(path: Path) -> str:
    """As ssh_config(5) has names with blanks in them."""
    return f'"{path}"' if " " in str(path) else str(path)


def _jump(host: JumpHost) -> str:
    address = f"[{host.host}]" if ":" in host.host else host.host
    return (f"{host.user}@" if host.user else "") + address + (f":{host.port}" if host.port else "")
