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
    InfrastructureError,
    Machine,
    MachineCapability,
    MachineLost,
    Service,
    ServiceSpec,
    UsageError,
)
from harness_agent import AgentClient, AgentMachine, Become, KeeperSpec, SweepReport, command_line, sweep
from harness_agent.remote.state import BASE
from harness_ssh.pool import Pool
from harness_ssh.transport import ChannelTransport

ROOT = "root"

UNLOCKED_WITHIN = 15.0
"""Seconds that a machine may take to end what is left of commands there, and let go."""

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


def unfit(said: Connection) -> list[str]:
    """What of how a host is to be reached is not done here."""
    problems = []
    if said.kind != "ssh":
        problems.append(
            f"its connection is {said.kind}, not ssh; choose another deployer, or leave ansible_connection out"
        )
    if said.become and said.become_user != ROOT:
        problems.append(f"one can only become root there, not {said.become_user} (ansible_become_user)")
    if PurePosixPath(said.become_exe).name != "sudo":
        problems.append(f"one becomes root by sudo, not by {said.become_exe} (ansible_become_exe)")
    return problems


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


def stored(client: AgentClient, state: str) -> AgentMachine:
    """A machine without a run, whose free disk is that where runs would keep what they have there."""
    return AgentMachine(client, state=state or BASE)


class LazyMachine(Machine):
    """A host as a machine that is connected with when it is first used, and again after its connection was lost."""

    capabilities = CAPABILITIES

    def __init__(self, host: HostSpec, pool: Pool, access: Access, state: str) -> None:
        """`state` is the folder there that runs have, as in the deployer's options."""
        self.name = host.name
        self.host = host
        self._pool = pool
        self._access = access
        self._state = state
        self._attaching = anyio.Lock()
        self._client: AgentClient | None = None

    async def machine(self) -> AgentMachine:
        """The machine that is there. Raises MachineLost."""
        async with self._attaching:
            if self._client is not None and self._client.gone:
                await self.close()
            if self._client is None:
                self._client = await self._attach()
            machine = stored(self._client, self._state)
            self.python = machine.python
            return machine

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _attach(self) -> AgentClient:
        if problems := unfit(self.host.connection):
            raise UsageError(f"{self.name}: {'; '.join(problems)}")
        return await attach(self._pool, self.host, self._access)

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


class LockedMachine(LazyMachine):
    """The same for one who is to be alone there: while it is connected with, its agent has the machine's lock. No
    keeper is needed where nothing is to outlive a connection."""

    def __init__(self, host: HostSpec, pool: Pool, access: Access, spec: KeeperSpec) -> None:
        super().__init__(host, pool, access, spec.base)
        self._spec = spec
        self._unreached: MachineLost | None = None

    async def take(self) -> None:
        """Whoever wants something of one that cannot be reached hears why, each time. Raises MachineLocked,
        InfrastructureError."""
        try:
            await self.machine()
        except MachineLost as error:
            self._unreached = error

    async def machine(self) -> AgentMachine:
        if self._unreached is not None:
            raise self._unreached
        return await super().machine()

    async def close(self) -> None:
        if self._client is not None and not self._client.gone:
            try:
                with anyio.fail_after(UNLOCKED_WITHIN):
                    await self._client.unlock()
            except (TimeoutError, InfrastructureError) as error:
                why = told(self.host, error) or f"no answer within {UNLOCKED_WITHIN:g} s"
                self._access.warn(self.name, f"{why}: it is locked until its lease ends, in {self._spec.lease:g} s")
        await super().close()

    async def _attach(self) -> AgentClient:
        client = await super()._attach()
        try:
            await client.lock(self._spec)
        except BaseException:
            await client.aclose()
            raise
        return client
