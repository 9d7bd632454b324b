"""The deployer: places nodes on this machine, with folders, ports and addresses, and takes them down with it."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

import anyio
import anyio.to_thread
from pydantic import Field

from harness.api import (
    Access,
    Address,
    Artifact,
    Chain,
    Config,
    Deployer,
    DeployError,
    Deployment,
    DeployRequest,
    Flow,
    HostReport,
    HostSpec,
    InfrastructureError,
    Link,
    LinkShape,
    Machine,
    MachineCapability,
    Placement,
    PlannedNode,
    Size,
    TeardownError,
    Unsupported,
    UsageError,
    file_name,
)
from harness_agent import AgentClient, clocks, disks
from harness_agent.ports import PortLeases
from harness_agent.relay import SHAPES, Door, LinkShaper, RelayShaper, spawn, wants_links
from harness_agent.remote import files, leftovers
from harness_agent.remote.ledger import Ledger, undo_all
from harness_agent.remote.users import User
from harness_process.machine import LocalMachine
from harness_process.supervision import LEDGER, PATIENCE, RECORD, Supervision

LOOPBACK = "127.0.0.1"
LOCAL_NAMES = frozenset({"localhost", LOOPBACK, "::1"})
NODES, ARTIFACTS = "nodes", "artifacts"
NO_RELAY = 'the deployer process does not with its option relay = "off"'
RELAY_LOG = "relay.log"


class ProcessConfig(Config):
    """Options of the deployer `process`."""

    relay: Literal["auto", "on", "off"] = Field(
        "auto",
        description="whether a relay stands between peers, so that single links can be cut, delayed and slowed down; "
        "auto is where the playbook asks for that",
    )
    disk: Size | None = Field(
        None,
        description="have each node's folder be a file system of its own of this size, in memory and gone with the "
        "run; takes Linux and root",
        ge=disks.LEAST,
    )


class ProcessDeployment(Deployment):
    """Nodes of this machine. Their folders, `nodes/NODE` in the run's folder, are left to whoever owns that one: they
    are what one looks at when a node went wrong."""

    def __init__(
        self,
        run_dir: Path,
        hosts: Mapping[str, Machine],
        placements: Mapping[str, Placement],
        addresses: Mapping[Link, Address],
        endpoints: Mapping[str, Mapping[str, Address]],
        shaper: LinkShaper | None,
    ) -> None:
        self.hosts = hosts
        self.placements = placements
        self._endpoints = endpoints
        self._addresses = addresses
        self._shaper = shaper
        self._artifacts = PurePosixPath(run_dir / ARTIFACTS)
        self._providing = anyio.Lock()
        self._provided: dict[str, PurePosixPath] = {}

    def link_address(self, link: Link) -> Address:
        return self._addresses[link]

    def endpoint(self, node: str, port: str) -> Address:
        return self._endpoints[node][port]

    async def provide(self, machine: Machine, artifact: Artifact) -> PurePosixPath:
        """A copy in the run's folder: the file of an artifact may be replaced by a newer one in the middle of a run,
        and a restarted node must still be the same software."""
        async with self._providing:
            if artifact.name not in self._provided:
                path = self._artifacts / file_name(artifact.name)
                await machine.put(artifact.content, path, 0o755 if artifact.executable else 0o644)
                self._provided[artifact.name] = path
            return self._provided[artifact.name]

    async def shape_links(self, shapes: Mapping[Flow, LinkShape]) -> None:
        if self._shaper is None:
            raise Unsupported("nothing was put between these nodes that could shape their links: none was needed")
        await self._shaper.shape(shapes)

    def mechanisms(self, shape: LinkShape) -> frozenset[str]:
        return self._shaper.mechanisms(shape) if self._shaper is not None else frozenset()

    @asynccontextmanager
    async def passage(self, link: Link, port: int) -> AsyncIterator[Address]:
        if self._shaper is None:
            raise Unsupported("there is nothing that shapes the links of these nodes: none was needed")
        async with self._shaper.passage(link, port) as through:
            yield Address(self.link_address(link).host, through)

    def close(self) -> None:
        """What is there is about to be taken down."""
        if self._shaper is not None:
            self._shaper.close()


class ProcessDeployer(Deployer[ProcessConfig]):
    """Nodes as supervised processes of this machine, bound to 127.0.0.1. No root, no Docker.

    When the harness dies, even by SIGKILL, the nodes die with it."""

    name = "process"
    Config = ProcessConfig
    capabilities: ClassVar[frozenset[MachineCapability]] = (
        LocalMachine.capabilities | SHAPES | {MachineCapability.OWN_DISK, MachineCapability.CLOCK}
    )

    async def inspect(self, nodes: Sequence[PlannedNode], chain: Chain[Any], access: Access) -> Sequence[HostReport]:
        hosts = {node.host.name: node.host for node in nodes}
        unusable = await anyio.to_thread.run_sync(clocks.unusable_here, clocks.wanted(nodes))
        return [self._report(host, unusable) for host in hosts.values()]

    def _report(self, host: HostSpec, unusable: Mapping[str, str]) -> HostReport:
        unlinked = dict.fromkeys(SHAPES, NO_RELAY) if self.config.relay == "off" else {}
        problems, diskless = disks.reported(host, self.config.disk, disks.why_none_here())
        clockless = {MachineCapability.CLOCK: why} if (why := clocks.why_none_here()) else {}
        lacks = {**unlinked, **diskless, **clockless}
        return HostReport(
            host.name, self.capabilities - lacks.keys(), (*_problems(host), *problems), lacks, unusable=unusable
        )

    @asynccontextmanager
    async def connect(self, hosts: Sequence[HostSpec], access: Access) -> AsyncIterator[Mapping[str, Machine]]:
        if problems := _told(hosts):
            raise UsageError(problems)
        with tempfile.TemporaryDirectory(prefix="harness-") as folder:
            supervision = await Supervision.start(Path(folder), access.audit)
            try:
                yield {host.name: LocalMachine(host.name, Path(folder), supervision.client) for host in hosts}
            finally:
                with anyio.CancelScope(shield=True):
                    await supervision.close()

    @asynccontextmanager
    async def deploy(self, request: DeployRequest) -> AsyncIterator[Deployment]:
        if problems := _told([node.host for node in request.nodes]):
            raise DeployError(problems)
        run_dir = request.run_dir.absolute()
        ours = [node for node in request.nodes if node.adoption is None]
        leases = await anyio.to_thread.run_sync(PortLeases, sum(len(node.ports) for node in ours))
        try:
            supervision = await Supervision.start(run_dir, request.access.audit)
            try:
                with closing(await self._ready(request, run_dir, supervision.client, leases.ports)) as deployment:
                    yield deployment
            finally:
                with anyio.CancelScope(shield=True):
                    left = await supervision.close()
                    await anyio.to_thread.run_sync(_remove_inputs, run_dir)
                if left:
                    raise TeardownError(f"process: still running: {', '.join(map(str, left))}")
        finally:
            leases.close()

    async def clean(self, run_id: str, run_dir: Path) -> Sequence[str]:
        undone, owing = await anyio.to_thread.run_sync(_undo, run_dir / LEDGER)
        killed, left = await anyio.to_thread.run_sync(leftovers.end, run_dir / RECORD, PATIENCE)
        if left or owing:
            raise TeardownError("process: " + "; ".join([*owing, *(f"still running: {one}" for one in left)]))
        removed = await anyio.to_thread.run_sync(_remove_inputs, run_dir)
        return [*undone, *(f"killed {leftover}" for leftover in killed), *(f"removed {path}" for path in removed)]

    async def _ready(
        self, request: DeployRequest, run_dir: Path, client: AgentClient, ports: Sequence[int]
    ) -> ProcessDeployment:
        names = {node.host.name for node in request.nodes}
        machines = {name: LocalMachine(name, run_dir, client) for name in names}
        free = iter(ports)
        endpoints = {
            node.spec.name: node.adoption.endpoints
            if node.adoption
            else {p: Address(LOOPBACK, next(free)) for p in node.ports}
            for node in request.nodes
        }
        directories = {
            node.spec.name: PurePosixPath(run_dir / NODES / file_name(node.spec.name)) for node in request.nodes
        }
        placements = {
            node.spec.name: Placement(
                node=node.spec,
                machine=machines[node.host.name],
                directory=directories[node.spec.name],
                bind=LOOPBACK,
                advertise=LOOPBACK,
                ports={port: at.port for port, at in endpoints[node.spec.name].items()},
                reach=("cd", str(directories[node.spec.name])) if node.adoption is None else (),
            )
            for node in request.nodes
        }
        folders = [Path(placements[node.spec.name].directory) for node in request.nodes if node.adoption is None]
        try:
            await anyio.to_thread.run_sync(_make_folders, folders)
        except OSError as error:
            raise DeployError(f"process: no folder for a node: {error}") from error
        try:
            await disks.mount_all(request.nodes, placements, self.config.disk, request.access.forks)
        except DeployError as error:
            raise DeployError(f"process: {error}") from error
        peer_port = {node.spec.name: node.peer_port for node in request.nodes}
        targets = {link: Address(LOOPBACK, placements[link.dst].ports[peer_port[link.dst]]) for link in request.links}
        wanted = wants_links(request.needs) if self.config.relay == "auto" else self.config.relay == "on"
        if not wanted:
            return ProcessDeployment(run_dir, machines, placements, targets, endpoints, None)
        addresses, shaper = await _relayed(client, targets, run_dir, request.access)
        return ProcessDeployment(run_dir, machines, placements, addresses, endpoints, shaper)


async def _relayed(
    client: AgentClient, targets: Mapping[Link, Address], run_dir: Path, access: Access
) -> tuple[Mapping[Link, Address], LinkShaper]:
    """A relay with a port of its own in front of each link's target. It holds its ports from before anybody knows them,
    so the kernel may choose them. Raises DeployError."""
    if not targets:
        return {}, RelayShaper((), access.warn)
    try:
        relay = await spawn(client, sys.executable, PurePosixPath(run_dir), run_dir / RELAY_LOG, shared_files=True)
        ports = await relay.listen([Door(link, Address(LOOPBACK, 0), target) for link, target in targets.items()])
    except InfrastructureError as error:
        raise DeployError(f"process: no link relay: {error}") from error
    addresses = {link: Address(LOOPBACK, port) for link, port in zip(targets, ports, strict=True)}
    return addresses, RelayShaper([relay], access.warn)


def _problems(host: HostSpec) -> list[str]:
    """What stands in the way of nodes on this host."""
    problems = [] if os.name == "posix" else ["this needs Linux or macOS"]
    if not is_local(host):
        problems.append(
            "it is not this machine, and nodes run here only; "
            'give it ansible_connection = "local", or choose another deployer'
        )
    return problems


def _told(hosts: Sequence[HostSpec]) -> str:
    return "; ".join(f"process: host {host.name}: {text}" for host in hosts for text in _problems(host))


def is_local(host: HostSpec) -> bool:
    """Whether an inventory host is this machine, as Ansible sees it: by its connection, else by its address."""
    connection = host.vars.get("ansible_connection")
    if connection is not None:
        return bool(connection == "local")
    return host.vars.get("ansible_host", host.name) in LOCAL_NAMES


def _make_folders(folders: Sequence[Path]) -> None:
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)


def _undo(path: Path) -> tuple[list[str], list[str]]:
    """What was undone of that ledger, and what could not be."""
    us = User()
    return undo_all(Ledger(str(path)), us, us, lambda ran: None)


def _remove_inputs(run_dir: Path) -> list[Path]:
    """Remove what a run needed but did not make: artifacts."""
    there = [path for path in (run_dir / ARTIFACTS,) if path.exists()]
    for path in there:
        files.remove(str(path))
    return there
