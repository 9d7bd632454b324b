"""The machines of one run, ready for nodes: places, ports, addresses, artifacts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import anyio

from harness.api import (
    Address,
    Artifact,
    DeployError,
    Deployment,
    Link,
    Machine,
    Placement,
    PlannedNode,
    file_name,
)
from harness_ssh.artifacts import ArtifactStore
from harness_ssh.hold import Hold
from harness_ssh.tunnels import LOOPBACK, Tunnels

NODES = "nodes"
TUNNEL = "tunnel"


class SshDeployment(Deployment):
    """See harness_ssh.deployer. Made by `prepare`."""

    def __init__(
        self,
        hosts: Mapping[str, Machine],
        placements: Mapping[str, Placement],
        links: Mapping[Link, Address],
        endpoints: Mapping[tuple[str, str], Address],
        store: ArtifactStore,
    ) -> None:
        self.hosts = hosts
        self.placements = placements
        self._links = links
        self._endpoints = endpoints
        self._store = store

    def link_address(self, link: Link) -> Address:
        return self._links[link]

    def endpoint(self, node: str, port: str) -> Address:
        return self._endpoints[node, port]

    async def provide(self, machine: Machine, artifact: Artifact) -> PurePosixPath:
        return await self._store.provide(machine, artifact)


@dataclass(frozen=True, slots=True)
class Site:
    """One machine's part: how to reach the nodes there, and what there is for them. `hold` is None where the machine is
    only looked at; `address` is where other machines reach it."""

    machine: Machine
    hold: Hold | None
    address: str
    tunnelled: bool

    def place(self, node: PlannedNode, ports: Mapping[str, int], *, alone: bool) -> Placement:
        """`alone`: nobody beyond the machine itself is to reach the node."""
        if node.adoption is not None:
            theirs = {port: address.port for port, address in node.adoption.endpoints.items()}
            return Placement(node.spec, self.machine, PurePosixPath("/"), "", self.address, theirs)
        every = "::" if ":" in self.address else "0.0.0.0"
        bind, advertise = (LOOPBACK, LOOPBACK) if alone else (every, self.address)
        return Placement(node.spec, self.machine, self.folder(node), bind, advertise, ports)

    def folder(self, node: PlannedNode) -> PurePosixPath:
        assert self.hold is not None, "nodes are deployed on held machines"
        return self.hold.client.folder / NODES / file_name(node.spec.name)

    def reached(self, node: PlannedNode, ports: Mapping[str, int]) -> Mapping[str, Address]:
        """Where what opens connections to the node's ports finds them: the machine itself for tunnels, else we."""
        if node.adoption is not None:
            return node.adoption.endpoints
        host = LOOPBACK if self.tunnelled else self.address
        return {port: Address(host, number) for port, number in ports.items()}

    async def ready(self, nodes: Sequence[PlannedNode], between: tuple[int, int]) -> Mapping[str, Mapping[str, int]]:
        """Have a folder and ports for each node, that are nobody else's. Raises InfrastructureError."""
        assert self.hold is not None, "nodes are deployed on held machines"
        numbers = iter(await self.hold.client.ports(sum(len(node.ports) for node in nodes), *between))
        made = await self.machine.run(["mkdir", "-p", "--", *(str(self.folder(node)) for node in nodes)])
        if made.returncode != 0:
            said = made.stderr.decode(errors="replace").strip()
            raise DeployError(f"ssh: host {self.machine.name}: no folder for a node: {said}")
        return {node.spec.name: {port: next(numbers) for port in node.ports} for node in nodes}


async def prepare(
    nodes: Sequence[PlannedNode],
    links: Sequence[Link],
    sites: Mapping[str, Site],
    tunnels: Tunnels,
    between: tuple[int, int],
    forks: int,
) -> SshDeployment:
    """A place for every node, an address for every link and port; `sites` by the hosts' names, `between` the lowest and
    highest port to use, zeros for any. Raises InfrastructureError."""
    ours = [node for node in nodes if node.adoption is None]
    ports = await _ports(ours, sites, between, forks)
    alone = len({node.host.name for node in ours}) == 1 and all(sites[node.host.name].tunnelled for node in ours)
    placements: dict[str, Placement] = {}
    endpoints: dict[tuple[str, str], Address] = {}
    for node in nodes:
        name, site = node.spec.name, sites[node.host.name]
        placements[name] = site.place(node, ports.get(name, {}), alone=alone)
        for port, address in site.reached(node, ports.get(name, {})).items():
            through = await tunnels.open(node.host.name, address) if site.tunnelled else address
            endpoints[name, port] = through
    peer_port = {node.spec.name: node.peer_port for node in ours}
    addresses = {
        link: Address(placements[link.dst].advertise, placements[link.dst].ports[peer_port[link.dst]])
        for link in links
        if link.dst in peer_port  # who runs somebody else's node has told it whom to dial
    }
    machines = {name: site.machine for name, site in sites.items()}
    folders = {name: site.hold.client.folder for name, site in sites.items() if site.hold is not None}
    return SshDeployment(machines, placements, addresses, endpoints, ArtifactStore(folders, forks))


async def _ports(
    nodes: Sequence[PlannedNode], sites: Mapping[str, Site], between: tuple[int, int], forks: int
) -> Mapping[str, Mapping[str, int]]:
    """Ports by node and name, from all machines at once."""
    given: dict[str, Mapping[str, int]] = {}
    slots = anyio.CapacityLimiter(forks)

    async def ready(host: str) -> None:
        async with slots:
            given.update(await sites[host].ready([node for node in nodes if node.host.name == host], between))

    async with anyio.create_task_group() as tasks:
        for host in dict.fromkeys(node.host.name for node in nodes):
            tasks.start_soon(ready, host)
    return given
