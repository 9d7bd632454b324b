"""The connections to a number of hosts: one a machine, a jump host's shared by all that go through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import stamina

from harness.api import Connection, HostSpec, JumpHost, MachineLost
from harness_ssh.asked import Asked
from harness_ssh.auth import Credentials, KeyFiles
from harness_ssh.connection import AuthenticationFailed, SshConnection
from harness_ssh.host_keys import HostKeyRefused
from harness_ssh.openssh import Destination, resolve

FIRST_TRIES = 6
"""So often is a machine asked that hangs up, the pause doubling: sshd does so at random when many come at once
(MaxStartups)."""


JUMP_KEYS = "keys and passwords of an inventory are for its hosts alone: name those of jump hosts in ~/.ssh/config"


@dataclass(frozen=True, slots=True)
class SshSettings:
    """`config_file` stands in for ~/.ssh/config and /etc/ssh/ssh_config. A sign of life is asked for every `keepalive`
    seconds, or more often where the inventory or ssh's configuration want that."""

    config_file: Path | None = None
    keepalive: float = 5.0


class Pool:
    """Connections by the hosts' names, made when they are first asked for, and made again when they were lost."""

    def __init__(self, hosts: Sequence[HostSpec], settings: SshSettings, forks: int) -> None:
        self._hosts: Mapping[str, HostSpec] = {host.name: host for host in hosts}
        self._settings = settings
        self._asked = Asked()
        self._keys = KeyFiles()
        self._slots = anyio.CapacityLimiter(forks)
        self._threads = anyio.CapacityLimiter(forks)
        self._connections: dict[object, SshConnection] = {}
        self._locks: dict[object, anyio.Lock] = {}

    async def get(self, name: str) -> SshConnection:
        """The host's connection. Raises MachineLost, UsageError."""
        said = self._hosts[name].connection
        return await self._open(name, said, Credentials(said.password, said.key_passphrase), ())

    async def drop(self, name: str) -> None:
        """Close the host's connection, if there is one."""
        if (connection := self._connections.pop(name, None)) is not None:
            await connection.close()

    async def close(self) -> None:
        """Close all, those that others go through last."""
        connections = list(self._connections.items())
        self._connections.clear()
        with anyio.CancelScope(shield=True):
            for ours in (True, False):
                async with anyio.create_task_group() as tasks:
                    for key, connection in connections:
                        if (key in self._hosts) is ours:
                            tasks.start_soon(connection.close)

    async def _open(
        self, key: object, said: Connection, credentials: Credentials, before: tuple[JumpHost, ...]
    ) -> SshConnection:
        async with self._locks.setdefault(key, anyio.Lock()):
            held = self._connections.get(key)
            if held is not None and held.alive:
                return held
            if held is not None:
                del self._connections[key]
                await held.close()
            made = self._connections[key] = await self._connect(said, credentials, before)
            return made

    async def _connect(self, said: Connection, credentials: Credentials, before: tuple[JumpHost, ...]) -> SshConnection:
        to = await anyio.to_thread.run_sync(
            partial(resolve, said, self._asked, self._settings.config_file),
            limiter=self._threads,
            abandon_on_cancel=True,
        )
        to = replace(to, keepalive=min(filter(None, (to.keepalive, self._settings.keepalive))))
        jumps = tuple(jump for jump in to.jumps if jump not in before)  # a jump host is not reached through itself
        via = await self._jump(jumps, said, to, before) if jumps else None
        async for attempt in stamina.retry_context(
            on=_hung_up, attempts=FIRST_TRIES, timeout=None, wait_initial=0.2, wait_jitter=0.3
        ):
            with attempt:
                async with self._slots:
                    return await SshConnection.open(to, credentials, self._keys, self._threads, via)
        raise AssertionError("stamina either returns or raises")

    async def _jump(
        self, jumps: tuple[JumpHost, ...], said: Connection, to: Destination, before: tuple[JumpHost, ...]
    ) -> SshConnection:
        """The connection to the last of these hosts, through those before it. As with ssh, how to get in there is for
        ssh's configuration to say; whom to trust is as for the machine behind it."""
        last = jumps[-1]
        hop = Connection(
            name=last.host,
            kind="ssh",
            host=last.host,
            port=last.port,
            user=last.user,
            proxy_jump=jumps[:-1] or None,
            host_keys=said.host_keys,
            known_hosts=said.known_hosts,
            connect_timeout=to.connect_timeout,
            keepalive=said.keepalive,
            config_file=said.config_file,
        )
        try:
            return await self._open((jumps, hop.host_keys, hop.known_hosts), hop, Credentials(), (*before, last))
        except AuthenticationFailed as error:
            told = "" if str(error).endswith(JUMP_KEYS) else f"; {JUMP_KEYS}"
            raise AuthenticationFailed(f"{error}{told}") from error


def may_pass(error: Exception) -> bool:
    """Whether it may be otherwise in a moment."""
    return isinstance(error, MachineLost) and not isinstance(error, AuthenticationFailed | HostKeyRefused)


def _hung_up(error: Exception) -> bool:
    return may_pass(error) and "hung up" in str(error)
