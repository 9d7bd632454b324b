"""What the tests of the deployer suite work with: deployments, nodes on them, and looks at what is left."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import anyio
from anyio.abc import TaskGroup

from harness.clock import SystemClock
from harness.engine.nodes import ManagedNode, NodeHost
from harness.engine.tasks import all_of, plain_errors
from harness.errors import HarnessError, Unreachable
from harness.plugin.contract.chain import Chain, Network, NetworkSpec, NodeSite, PeerAddress
from harness.plugin.contract.deployer import Access, Deployer, Deployment, DeployRequest, HostSpec, PlannedNode
from harness.plugin.contract.machine import Address, CommandRecord, Machine
from harness.record.rundir import RunDirectory
from harness.spec.model import WalletsSpec
from harness.spec.topology import Link, NodeSpec, Topology
from harness.testing.contracts.chain import ROLE, ask

READY_WITHIN = 60.0
"""Seconds for a node to answer."""

FIND = """
import os, sys
marker, me, found = sys.stdin.read().encode(), os.getpid(), []
for pid in os.listdir("/proc"):
    if pid.isdigit() and int(pid) != me:
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                line = file.read()
            with open(f"/proc/{pid}/stat", "rb") as file:
                state = file.read().rpartition(b")")[2].split()[0]
        except OSError:
            continue
        if marker in line and state not in (b"Z", b"X"):
            found.append(pid)
print(" ".join(found))
"""
"""A program that prints the pids of the machine's processes that have what is on its stdin in their arguments."""


@dataclass(frozen=True)
class Net:
    """Nodes that are up. `audit` is every command that the deployer told of, `lost` what failed of itself."""

    deployment: Deployment
    nodes: Mapping[str, ManagedNode]
    audit: list[CommandRecord] = field(default_factory=list)
    lost: list[HarnessError] = field(default_factory=list)

    @property
    def node(self) -> ManagedNode:
        """The first."""
        return next(iter(self.nodes.values()))

    @property
    def machine(self) -> Machine:
        """The first node's."""
        return self.node.machine

    @property
    def folder(self) -> PurePosixPath:
        """The first node's."""
        return self.deployment.placements[self.node.name].directory

    async def ask(self, node: str, *request: Any, timeout: float = 5.0) -> Any:
        return await ask(self.deployment.endpoint(node, "api"), *request, timeout=timeout)

    async def dial(self, link: Link) -> Any:
        """What a node is told where it dials another."""
        address = self.deployment.link_address(link)
        return await self.ask(link.src, "dial", address.host, address.port)

    async def connect(self, link: Link, key: str) -> None:
        """Have a node keep a connection with another one (see service.py)."""
        address = self.deployment.link_address(link)
        assert await self.ask(link.src, "connect", key, address.host, address.port) == link.dst

    async def find(self, marker: str) -> list[str]:
        """The pids of those of the first machine's processes that have this in their arguments."""
        done = await self.machine.run((self.machine.python, "-I", "-S", "-c", FIND), input=marker.encode())
        assert done.returncode == 0, done.stderr
        return done.stdout.decode().split()


class Bench:
    """A deployer, hosts, and a folder for runs."""

    def __init__(self, deployer: Deployer[Any], hosts: Sequence[HostSpec], chain: Chain[Any], folder: Path) -> None:
        self.deployer = deployer
        self.hosts = hosts
        self.chain = chain
        self.folder = folder
        self.audit: list[CommandRecord] = []
        self.runs: list[RunDirectory] = []

    def run(self) -> RunDirectory:
        """A new run, controlled by this process."""
        run = RunDirectory.create(self.folder / "runs", "contract", time.time())
        self.runs.append(run)
        return run

    def planned(self, count: int = 1, hosts: Sequence[HostSpec] = ()) -> tuple[PlannedNode, ...]:
        """Nodes, dealt out over the hosts."""
        places = hosts or self.hosts
        specs = [NodeSpec(f"{ROLE}-{number}", ROLE, number, number) for number in range(count)]
        info = self.chain.roles[ROLE]
        return tuple(PlannedNode(spec, places[spec.index % len(places)], info.ports, info.peer_port) for spec in specs)

    def request(
        self, count: int = 1, *, run: RunDirectory | None = None, hosts: Sequence[HostSpec] = ()
    ) -> DeployRequest:
        """For so many nodes, each linked with each."""
        run = run or self.run()
        nodes = self.planned(count, hosts)
        access = Access(4, self.audit.append)
        return DeployRequest(
            run.run_id, run.path, nodes, self.links([node.spec.name for node in nodes]), self.chain, access
        )

    @staticmethod
    def links(nodes: Iterable[str]) -> tuple[Link, ...]:
        """From each to each."""
        names = list(nodes)
        return tuple(Link(one, other) for one in names for other in names if one != other)

    def deploy(self, request: DeployRequest | None = None) -> AbstractAsyncContextManager[Deployment]:
        return self.deployer.deploy(request or self.request())

    @asynccontextmanager
    async def up(self, count: int = 1, *, run: RunDirectory | None = None) -> AsyncIterator[Net]:
        """Nodes that run and answer; taken down afterwards, whatever happens."""
        request = self.request(count, run=run)
        with plain_errors():
            async with self.deploy(request) as deployment, anyio.create_task_group() as tasks:
                net = await self.start(request, deployment, tasks)
                await all_of(partial(node.wait_ready, READY_WITHIN) for node in net.nodes.values())
                yield net
                tasks.cancel_scope.cancel()

    async def start(self, request: DeployRequest, deployment: Deployment, tasks: TaskGroup) -> Net:
        """The nodes of a deployment, started but perhaps not ready."""
        topology = Topology("full", tuple(node.spec for node in request.nodes), request.links)
        network = self.chain.network(NetworkSpec(request.run_id, 7, topology, WalletsSpec(), time.time()))
        lost: list[HarnessError] = []
        nodes = await start_nodes(network, request, deployment, tasks, lost)
        return Net(deployment, nodes, self.audit, lost)


async def start_nodes(
    network: Network, request: DeployRequest, deployment: Deployment, tasks: TaskGroup, lost: list[HarnessError]
) -> dict[str, ManagedNode]:
    """A network's nodes on their machines, started as the engine does it. `lost` is told what fails of itself."""
    topology = network.spec.topology
    host = NodeHost(network, deployment, SystemClock(), _ignore, tasks, lambda _, error: lost.append(error))
    nodes = {}
    for planned in request.nodes:
        name = planned.spec.name
        place = deployment.placements[name]
        artifacts = request.chain.artifacts(await place.machine.facts())
        site = NodeSite(
            node=planned.spec,
            directory=place.directory,
            bind=place.bind,
            advertise=place.advertise,
            ports=place.ports,
            dials=tuple(
                PeerAddress(topology.node(link.dst), deployment.link_address(link))
                for link in request.links
                if link.src == name
            ),
            artifacts={one.name: await deployment.provide(place.machine, one) for one in artifacts},
            python=place.machine.python,
        )
        api_port = request.chain.roles[planned.spec.role].api_port
        nodes[name] = ManagedNode(place, network.launch(site), api_port, RunDirectory(request.run_dir).log(name), host)
    for node in nodes.values():
        await node.write_files()
        await node.start()
    return nodes


def _ignore(event: object) -> None:
    """There is no journal."""


async def is_silent(address: Address) -> bool:
    """Whether nothing answers there."""
    try:
        await ask(address, "head", timeout=2.0)
    except Unreachable:
        return True
    return False
