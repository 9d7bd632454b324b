"""Agents on machines: how one is started through a connection, and a machine that starts its own when it is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import anyio
import anyio.to_thread

from harness.api import (
    Access,
    Completed,
    Connection,
    Facts,
    HostSpec,
    Machine,
    MachineCapability,
    MachineLost,
    Service,
    ServiceSpec,
)
from harness_agent import AgentClient, AgentMachine, Become, SweepReport, command_line, sweep
from harness_ssh.pool import Pool
from harness_ssh.transport import ChannelTransport

CAPABILITIES = frozenset({MachineCapability.NODE_CONTROL, MachineCapability.PAUSE, MachineCapability.COMMANDS})


def told(host: HostSpec, error: Exception) -> str:
    """What an error says, without the host's name before it: for those who say it themselves."""
    text, name = str(error), f"{host.name}: "
    while text.startswith(name):
        text = text.removeprefix(name)
    return text


async def start(pool: Pool, host: HostSpec) -> ChannelTransport:
    """Have the machine's own Python wait for the agent. Raises MachineLost, UsageError."""
    connection = await pool.get(host.name)
    return await ChannelTransport.start(connection, command_line(host.connection.python or "python3"))


async def becoming(said: Connection) -> Become:
    """How this user becomes root there. Raises UsageError for a password that is not to be had."""
    if said.become_password is None:
        return Become()
    return Become(await anyio.to_thread.run_sync(said.become_password.reveal))


async def attach(pool: Pool, host: HostSpec, access: Access) -> AgentClient:
    """An agent that ends with its connection, and everything that it started with it. Raises MachineLost."""
    become = await becoming(host.connection)
    transport = await start(pool, host)
    return await AgentClient.attach(transport, host.name, become=become, audit=access.audit)


async def clear(pool: Pool, host: HostSpec, access: Access, state: str, run_id: str = "") -> SweepReport:
    """End and remove what dead runs have on the machine, or what this one has, be it dead or not. Raises MachineLost,
    InfrastructureError."""
    client = await attach(pool, host, access)
    try:
        return await sweep(client, state, run_id=run_id)
    finally:
        await client.aclose()


class LazyMachine(Machine):
    """A host as a machine that is connected with when it is first used, and again after its connection was lost."""

    capabilities = CAPABILITIES

    def __init__(self, host: HostSpec, pool: Pool, access: Access) -> None:
        self.name = host.name
        self._host = host
        self._pool = pool
        self._access = access
        self._attaching = anyio.Lock()
        self._client: AgentClient | None = None

    async def machine(self) -> AgentMachine:
        """The machine that is there. Raises MachineLost."""
        async with self._attaching:
            if self._client is not None and self._client.gone:
                await self.close()
            if self._client is None:
                self._client = await attach(self._pool, self._host, self._access)
            machine = AgentMachine(self._client)
            self.python = machine.python
            return machine

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def run(
        self,
        argv: Sequence[str],
        *,
        input: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: PurePosixPath | None = None,
        timeout: float = 60.0,
        become: bool = False,
    ) -> Completed:
        machine = await self.machine()
        return await machine.run(argv, input=input, env=env, cwd=cwd, timeout=timeout, become=become)

    async def put(self, content: bytes | Path, path: PurePosixPath, mode: int = 0o644) -> None:
        await (await self.machine()).put(content, path, mode)

    async def get(self, path: PurePosixPath) -> bytes:
        return await (await self.machine()).get(path)

    async def fetch(self, path: PurePosixPath, to: Path) -> None:
        await (await self.machine()).fetch(path, to)

    async def remove(self, path: PurePosixPath) -> None:
        await (await self.machine()).remove(path)

    async def spawn(self, spec: ServiceSpec) -> Service:
        return await (await self.machine()).spawn(spec)

    async def facts(self) -> Facts:
        return await (await self.machine()).facts()


class LostMachine(LazyMachine):
    """A host that could not be reached when it was to be taken: whoever wants something of it hears why."""

    def __init__(self, host: HostSpec, pool: Pool, access: Access, why: MachineLost) -> None:
        super().__init__(host, pool, access)
        self._why = why

    async def machine(self) -> AgentMachine:
        raise self._why
