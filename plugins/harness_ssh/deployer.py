"""The deployer: machines over SSH, held for a run by a keeper that each of them has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup
from pydantic import Field, field_validator

from harness.api import (
    Access,
    Chain,
    Config,
    Deployer,
    DeployError,
    Deployment,
    DeployRequest,
    Duration,
    HarnessError,
    HealReport,
    HostReport,
    HostSpec,
    Machine,
    MachineCapability,
    PlannedNode,
    Size,
    SpecError,
    TeardownError,
)
from harness_agent import AgentClient, KeeperSpec, SweepReport, clocks, disks, holder
from harness_agent.nft import RULES
from harness_agent.relay import SHAPES
from harness_agent.remote.state import BASE
from harness_ssh import agents, firewall, record, shaping
from harness_ssh.deployment import TUNNEL, Site, prepare
from harness_ssh.heart import Heart
from harness_ssh.hold import Hold, owner
from harness_ssh.pool import Pool, SshSettings
from harness_ssh.record import Record, unique
from harness_ssh.tunnels import Tunnels

T = TypeVar("T")

LOSSES = 6
"""So many signs of life are asked for in each lease: who is lost must be known while much of it is left."""

LEAST_DISK = 256 << 20
"""Bytes that must be free on a machine for a run to begin there: programs of nodes, and what these write at first."""


class SshConfig(Config):
    """Options of the deployer `ssh`."""

    lease: Duration = Field(
        60.0,
        description="how long a machine goes on without hearing from the controller, before it ends and undoes all "
        "that the run has there",
        ge=10,
    )
    supervise: Literal["auto", "systemd", "child"] = Field(
        "auto",
        description="what runs the nodes: systemd units, or children of the harness's own keeper; auto is systemd "
        "where it runs",
    )
    ports: tuple[int, int] | None = Field(
        None, description="lowest and highest port for nodes to listen on; without it, any that the machine has free"
    )
    links: firewall.Links = Field(
        "auto",
        description="what disturbs links: nft drops packets, tc delays them and slows them down, on machines with root "
        "and one node each; a relay holds and delays what connections carry; auto is nft and tc where they can be, "
        "else a relay",
    )
    disk: Size | None = Field(
        None,
        description="have each node's folder be a file system of its own of this size, in its machine's memory and "
        "gone with the run; takes root",
        ge=disks.LEAST,
    )
    state: str = Field("", description="folder on the machines for what a run keeps there; /var/tmp unless said")
    ssh_config: Path | None = Field(None, description="a file to read instead of ~/.ssh/config and /etc/ssh/ssh_config")
    keepalive: Duration = Field(
        5.0,
        description="how often each machine is asked for a sign of life, at least; one that gives none for three times "
        "as long is connected with anew",
        ge=1,
    )

    @field_validator("ports")
    @classmethod
    def _are_a_range(cls, ports: tuple[int, int] | None) -> tuple[int, int] | None:
        if ports is not None and not 1024 <= ports[0] <= ports[1] <= 65535:
            raise ValueError("must be two ports from 1024 to 65535, the lower one first")
        return ports


class SshDeployer(Deployer[SshConfig]):
    """Nodes on machines that are reached over SSH: several to a machine, under systemd or a keeper of our own.

    Nothing but sshd and Python 3 need be there. What a run has on a machine ends when the machine has not heard of the
    controller for the lease; a link that is lost for less does not disturb the run."""

    name = "ssh"
    Config = SshConfig
    capabilities: ClassVar[frozenset[MachineCapability]] = (
        agents.CAPABILITIES | SHAPES | RULES | {MachineCapability.OWN_DISK, MachineCapability.CLOCK}
    )

    async def inspect(self, nodes: Sequence[PlannedNode], chain: Chain[Any], access: Access) -> Sequence[HostReport]:
        hosts = unique([node.host for node in nodes])
        crowded = firewall.crowded(nodes)
        filled = {node.host.name for node in nodes if node.adoption is None}
        pool = self._pool(hosts, access.forks)
        try:
            return await _for_all(
                hosts,
                access.forks,
                lambda host: self._look_at(host, pool, access, crowded, filled, clocks.wanted(nodes, host.name)),
            )
        finally:
            await pool.close()

    @asynccontextmanager
    async def connect(self, hosts: Sequence[HostSpec], access: Access) -> AsyncIterator[Mapping[str, Machine]]:
        pool = self._pool(hosts, access.forks)
        machines = {host.name: agents.LazyMachine(host, pool, access, self.config.state) for host in hosts}
        try:
            yield machines
        finally:
            with anyio.CancelScope(shield=True):
                await _for_all(machines.values(), access.forks, agents.LazyMachine.close)
                await pool.close()

    @asynccontextmanager
    async def deploy(self, request: DeployRequest) -> AsyncIterator[Deployment]:
        hosts = unique([node.host for node in request.nodes])
        held = {node.host.name for node in request.nodes if node.adoption is None or node.adoption.control}
        pool = self._pool(hosts, request.access.forks)
        holds = {
            host.name: self._hold(host, pool, request.access, request.run_id) for host in hosts if host.name in held
        }
        lookers = {
            h.name: agents.LazyMachine(h, pool, request.access, self.config.state) for h in hosts if h.name not in held
        }
        hosts_held = tuple(hold.host for hold in holds.values())
        written = Record(request.run_id, hosts_held, self.config.state, self.config.ssh_config)
        await anyio.to_thread.run_sync(record.write, request.run_dir, written)
        failure: Exception | None = None
        try:
            async with self._held(list(holds.values()), request.access.forks) as tasks:
                tunnels = Tunnels(pool, tasks)
                sites = await self._sites(hosts, pool, holds, lookers)
                rules, queues = await shaping.of_kernels(self.config.links, request, sites, pool)
                queued = queues.can if queues is not None else frozenset()
                relayed = firewall.wants_relays(
                    self.config.links, request.needs, ruled=rules is not None, queued=queued
                )
                prepared = await prepare(
                    request.nodes,
                    request.links,
                    sites,
                    tunnels,
                    self.config.ports or (0, 0),
                    request.access,
                    request.run_dir if relayed else None,
                    rules,
                    queues,
                )
                with closing(prepared):
                    await disks.mount_all(request.nodes, prepared.placements, self.config.disk, request.access.forks)
                    yield prepared
        except TeardownError:
            raise
        except Exception as error:  # noqa: BLE001 - raised below
            failure = error
        finally:
            with anyio.CancelScope(shield=True):
                await _for_all(lookers.values(), request.access.forks, agents.LazyMachine.close)
                await pool.close()
        await anyio.to_thread.run_sync(record.remove, request.run_dir)
        if failure is not None:
            raise failure

    @asynccontextmanager
    async def hold(self, hosts: Sequence[HostSpec], access: Access, who: str) -> AsyncIterator[Mapping[str, Machine]]:
        """Locked as for a run, but by the agents of the connections: all that they do there ends with these, and so
        may the locks."""
        pool = self._pool(hosts, access.forks)
        machines = {host.name: agents.LockedMachine(host, pool, access, self._keeper_spec(who)) for host in hosts}
        try:
            await _take(list(machines.values()), access.forks)
            yield machines
        finally:
            with anyio.CancelScope(shield=True):
                await _for_all(machines.values(), access.forks, agents.LockedMachine.close)
                await pool.close()

    @asynccontextmanager
    async def _held(self, holds: Sequence[Hold], forks: int) -> AsyncIterator[TaskGroup]:
        """Take these machines, keep them, let them go. Gives what else may run as long. Raises DeployError;
        TeardownError with what is left."""
        heart = Heart(holds, self.config.lease)
        failure: Exception | None = None
        left: list[str] = []
        try:
            async with anyio.create_task_group() as tasks:
                try:
                    await _take(holds, forks)
                    heart.start()
                    for hold in holds:
                        tasks.start_soon(hold.watch)
                    yield tasks
                except Exception as error:  # noqa: BLE001 - raised below, with no group around it
                    failure = error
                finally:
                    with anyio.CancelScope(shield=True):
                        left = _flat(await _for_all(holds, forks, Hold.let_go))
                    tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(heart.stop)
        if left:
            raise TeardownError("ssh: " + "; ".join(left)) from failure
        if failure is not None:
            raise failure

    async def clean(self, run_id: str, run_dir: Path) -> Sequence[str]:
        written = await anyio.to_thread.run_sync(record.read, run_dir)
        if written is None:
            return []
        deployer = SshDeployer(SshConfig.model_validate({"state": written.state, "ssh_config": written.ssh_config}))
        report = await deployer._sweep(written.hosts, Access(), written.run_id)
        await anyio.to_thread.run_sync(record.remove, run_dir)
        return list(report.done)

    async def heal(self, hosts: Sequence[HostSpec], access: Access) -> HealReport:
        return await self._sweep(unique(hosts), access, "")

    async def _sweep(self, hosts: Sequence[HostSpec], access: Access, run_id: str) -> HealReport:
        """End what dead runs have on these hosts, or what this one has, be it dead or not. Raises TeardownError."""
        pool = self._pool(hosts, access.forks)

        async def one(host: HostSpec) -> SweepReport:
            try:
                report = await agents.clear(pool, host, access, self.config.state, run_id)
            except HarnessError as error:
                return SweepReport(left=(f"{host.name}: {agents.told(host, error)}",))
            said = (tuple(f"{host.name}: {line}" for line in some) for some in (report.done, report.left, report.alive))
            return SweepReport(*said)

        try:
            swept = await _for_all(hosts, access.forks, one)
        finally:
            with anyio.CancelScope(shield=True):
                await pool.close()
        done, left = _flat(each.done for each in swept), _flat(each.left for each in swept)
        if left:
            raise TeardownError("ssh: " + "; ".join(left) + (f" (done: {'; '.join(done)})" if done else ""))
        return HealReport(tuple(done), tuple(f"{line}: left alone" for each in swept for line in each.alive))

    def _pool(self, hosts: Sequence[HostSpec], forks: int) -> Pool:
        return Pool(
            hosts, SshSettings(self.config.ssh_config, min(self.config.keepalive, self.config.lease / LOSSES)), forks
        )

    def _hold(self, host: HostSpec, pool: Pool, access: Access, run_id: str) -> Hold:
        return Hold(host, pool, access, self._keeper_spec(run_id))

    def _keeper_spec(self, run_id: str) -> KeeperSpec:
        mechanism = "" if self.config.supervise == "auto" else self.config.supervise
        return KeeperSpec(run_id, owner(), self.config.lease, self.config.state, mechanism)

    async def _look_at(
        self,
        host: HostSpec,
        pool: Pool,
        access: Access,
        crowded: str,
        filled: Collection[str],
        libraries: Sequence[str],
    ) -> HostReport:
        """A host that cannot be looked at has a problem, not an error: the others are to be looked at, too. `crowded`:
        why its address does not tell its nodes apart. `filled`: hosts that nodes are brought to. `libraries`: what its
        nodes are to load."""
        try:
            problems = agents.unfit(host.connection)
            if problems:
                return HostReport(host.name, problems=tuple(problems))
            client = await agents.attach(pool, host, access)
            try:
                seen = await self._report(host, client, crowded, filled=host.name in filled)
                machine = agents.stored(client, self.config.state)
                return replace(seen, unusable=await clocks.unusable_on(machine, libraries))
            finally:
                await client.aclose()
        except SpecError as error:
            return HostReport(host.name, problems=tuple(map(str, error.problems)))
        except HarnessError as error:
            return HostReport(host.name, problems=(agents.told(host, error),))

    async def _report(self, host: HostSpec, client: AgentClient, crowded: str, *, filled: bool) -> HostReport:
        problems, machine = [], agents.stored(client, self.config.state)
        facts = await machine.facts()
        if filled and facts.free_disk_bytes < LEAST_DISK:
            problems.append(
                f"{facts.free_disk_bytes >> 20} MiB of disk are free in {self.config.state or BASE}, and a run needs "
                f"{LEAST_DISK >> 20} MiB at least; make room there, or name another folder: the deployer's option state"
            )
        if not client.hello.python:
            problems.append(f"nodes need Python 3.11 or newer, and it has {client.hello.version}; install python3")
        if self.config.supervise == "systemd" and not client.hello.systemd:
            problems.append('supervise = "systemd", but it was not booted with systemd')
        if host.connection.become and (why := await client.become_problem()):
            problems.append(f"{client.hello.user} cannot become root there: {why.removeprefix(f'{host.name}: ')}")
        if locked := await holder(client, self.config.state):
            problems.append(str(locked).replace(f"{host.name} is", "it is", 1))
        links = await shaping.offer(self.config.links, machine, crowded)
        in_the_way, diskless = await disks.reported_on(machine, host, self.config.disk)
        clockless = {MachineCapability.CLOCK: why} if (why := await clocks.why_none_on(machine)) else {}
        of_nodes = agents.CAPABILITIES | {MachineCapability.OWN_DISK, MachineCapability.CLOCK}
        lacks = {**links.lacks, **diskless, **clockless}
        offered = (of_nodes | links.can) - lacks.keys()
        return HostReport(host.name, offered, (*problems, *in_the_way), lacks, facts, links.instead)

    async def _sites(
        self, hosts: Sequence[HostSpec], pool: Pool, holds: Mapping[str, Hold], lookers: Mapping[str, Machine]
    ) -> dict[str, Site]:
        sites = {}
        for host in hosts:
            said, hold = host.connection, holds.get(host.name)
            address = said.address
            if (
                hold is not None and address == said.host
            ):  # others may not know the name that our ~/.ssh/config gives it
                address = (await pool.get(host.name)).destination.hostname
            machine = hold.machine if hold is not None else lookers[host.name]
            sites[host.name] = Site(machine, hold, address, said.api == TUNNEL)
        return sites


async def _take(holds: Sequence[Hold | agents.LockedMachine], forks: int) -> None:
    """Take all or none; those taken are let go by whoever asked. Raises DeployError with every reason.

    The first alone, then the others together: of two runs that want the same machines one gets them all."""
    reasons: list[str] = []

    async def take(hold: Hold | agents.LockedMachine) -> None:
        try:
            await hold.take()
        except HarnessError as error:
            told = agents.told(hold.host, error).replace(f"{hold.host.name} is", "it is", 1)
            reasons.append(f"host {hold.host.name}: {told}")

    for some in (holds[:1], holds[1:]):
        await _for_all(some, forks, take)
        if reasons:
            raise DeployError("ssh: " + "; ".join(sorted(reasons)))


S = TypeVar("S")


async def _for_all(of: Iterable[S], forks: int, do: Callable[[S], Awaitable[T]]) -> list[T]:
    """The results for each, in order; at most `forks` at once."""
    slots = anyio.CapacityLimiter(forks)
    results: dict[int, T] = {}

    async def one(number: int, each: S) -> None:
        async with slots:
            results[number] = await do(each)

    async with anyio.create_task_group() as tasks:
        for number, each in enumerate(of):
            tasks.start_soon(one, number, each)
    return [results[number] for number in sorted(results)]


def _flat(lines: Iterable[Iterable[str]]) -> list[str]:
    return [line for some in lines for line in some]
