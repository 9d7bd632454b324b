"""The machines of one run, ready for nodes: places, ports, addresses, artifacts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import anyio

from harness.api import (
    Access,
    Address,
    Artifact,
    DeployError,
    Deployment,
    Flow,
    Link,
    LinkShape,
    Machine,
    MachineCapability,
    Placement,
    PlannedNode,
    Unsupported,
    file_name,
)
from harness_agent.relay import Door, LinkShaper, Relay, RelayShaper, spawn
from harness_agent.tc import QUEUES, Shared, TcShaper
from harness_ssh.artifacts import ArtifactStore
from harness_ssh.hold import Hold
from harness_ssh.reach import ssh_command
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
        shaper: LinkShaper | None,
    ) -> None:
        self.hosts = hosts
        self.placements = placements
        self._links = links
        self._endpoints = endpoints
        self._store = store
        self._shaper = shaper

    def link_address(self, link: Link) -> Address:
        return self._links[link]

    def endpoint(self, node: str, port: str) -> Address:
        return self._endpoints[node, port]

    async def provide(self, machine: Machine, artifact: Artifact) -> PurePosixPath:
        return await self._store.provide(machine, artifact)

    async def shape_links(self, shapes: Mapping[Flow, LinkShape]) -> None:
        if self._shaper is None:
            raise Unsupported("there is nothing that could shape the links of these nodes: none was needed")
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
        reach = ssh_command(node.host.connection)
        if node.adoption is not None:
            theirs = {port: address.port for port, address in node.adoption.endpoints.items()}
            return Placement(node.spec, self.machine, PurePosixPath("/"), "", self.address, theirs, reach)
        every = "::" if ":" in self.address else "0.0.0.0"
        bind, advertise = (LOOPBACK, LOOPBACK) if alone or node.sender else (every, self.address)
        return Placement(node.spec, self.machine, self.folder(node), bind, advertise, ports, reach)

    def folder(self, node: PlannedNode) -> PurePosixPath:
        assert self.hold is not None, "nodes are deployed on held machines"
        return self.hold.client.folder / NODES / file_name(node.spec.name)

    def reached(self, node: PlannedNode, ports: Mapping[str, int]) -> Mapping[str, Address]:
        """Where what opens connections to the node's ports finds them: the machine itself for tunnels, else we."""
        if node.adoption is not None:
            return node.adoption.endpoints
        host = LOOPBACK if self.tunnels_to(node) else self.address
        return {port: Address(host, number) for port, number in ports.items()}

    def tunnels_to(self, node: PlannedNode) -> bool:
        """Whether the controller reaches the node's ports through the machine: always those that are its alone."""
        return self.tunnelled or node.sender

    async def ready(
        self, nodes: Sequence[PlannedNode], relayed: Sequence[Link], between: tuple[int, int]
    ) -> tuple[Mapping[str, Mapping[str, int]], Mapping[Link, int]]:
        """Have a folder and ports for each node, and a port for each link that is to be relayed, that are nobody
        else's. Raises InfrastructureError."""
        assert self.hold is not None, "nodes are deployed on held machines"
        count = sum(len(node.ports) for node in nodes) + len(relayed)
        numbers = iter(await self.hold.client.ports(count, *between))
        made = await self.machine.run(["mkdir", "-p", "--", *(str(self.folder(node)) for node in nodes)])
        if made.returncode != 0:
            said = made.stderr.decode(errors="replace").strip()
            raise DeployError(f"ssh: host {self.machine.name}: no folder for a node: {said}")
        ports = {node.spec.name: {port: next(numbers) for port in node.ports} for node in nodes}
        return ports, dict(zip(relayed, numbers, strict=True))

    async def relay(self, doors: Sequence[Door], log: Path) -> Relay:
        """Have a relay on the machine, behind these doors. Raises InfrastructureError."""
        assert self.hold is not None, "nodes are deployed on held machines"
        client = self.hold.client
        relay = await spawn(client, self.machine.python, client.folder, log)
        await relay.listen(doors)
        return relay


async def prepare(
    nodes: Sequence[PlannedNode],
    links: Sequence[Link],
    sites: Mapping[str, Site],
    tunnels: Tunnels,
    between: tuple[int, int],
    access: Access,
    relay_logs: Path | None,
    rules: LinkShaper | None,
    queues: TcShaper | None,
) -> SshDeployment:
    """A place for every node, an address for every link and port; `sites` by the hosts' names, `between` the lowest and
    highest port to use, zeros for any. `relay_logs` is the folder for what relays have to say, None for having none;
    `rules` and `queues` shape links without them, or beside them. Raises InfrastructureError."""
    ours = {node.spec.name: node for node in nodes if node.adoption is None}
    links = [link for link in links if link.dst in ours]  # who runs somebody else's node has told it whom to dial
    inbound: dict[str, list[Link]] = {ours[link.dst].host.name: [] for link in links}
    for link in links if relay_logs is not None else ():
        inbound[ours[link.dst].host.name].append(link)
    ports, doors = await _ports(list(ours.values()), inbound, sites, between, access.forks)
    alone = len({node.host.name for node in ours.values()}) == 1 and all(
        sites[node.host.name].tunnelled for node in ours.values()
    )
    placements: dict[str, Placement] = {}
    endpoints: dict[tuple[str, str], Address] = {}
    for node in nodes:
        name, site = node.spec.name, sites[node.host.name]
        placements[name] = site.place(node, ports.get(name, {}), alone=alone)
        for port, address in site.reached(node, ports.get(name, {})).items():
            through = await tunnels.open(node.host.name, address) if site.tunnels_to(node) else address
            endpoints[name, port] = through
    peers = {link: placements[link.dst].ports[ours[link.dst].peer_port] for link in links}
    addresses = {link: Address(placements[link.dst].advertise, doors.get(link, peers[link])) for link in links}
    relays = None
    if relay_logs is not None:
        behind = {
            host: [_door(link, placements[link.dst].bind, doors[link], peers[link]) for link in some]
            for host, some in inbound.items()
        }
        relays = await _relays(behind, sites, relay_logs, access)
    shaper = _shaper(rules, queues, relays)
    machines = {name: site.machine for name, site in sites.items()}
    folders = {name: site.hold.client.folder for name, site in sites.items() if site.hold is not None}
    return SshDeployment(machines, placements, addresses, endpoints, ArtifactStore(folders, access.forks), shaper)


def _shaper(rules: LinkShaper | None, queues: TcShaper | None, relays: LinkShaper | None) -> LinkShaper | None:
    """Who does what: dropping, delaying and slowing down. None where nobody does anything."""
    found: dict[MachineCapability, LinkShaper] = {}
    if (first := rules or relays) is not None:
        found[MachineCapability.LINK_CONTROL] = first
    for what in QUEUES:
        if (some := queues if queues is not None and what in queues.can else relays) is not None:
            found[what] = some
    every = list(found.values())
    if not every:
        return None
    return Shared(found, relays or every[0])


async def _ports(
    nodes: Sequence[PlannedNode],
    relayed: Mapping[str, Sequence[Link]],
    sites: Mapping[str, Site],
    between: tuple[int, int],
    forks: int,
) -> tuple[Mapping[str, Mapping[str, int]], Mapping[Link, int]]:
    """Ports by node and name, and by relayed link, from all machines at once."""
    given: dict[str, Mapping[str, int]] = {}
    doors: dict[Link, int] = {}

    async def ready(host: str) -> None:
        ours = [node for node in nodes if node.host.name == host]
        of_nodes, of_links = await sites[host].ready(ours, relayed.get(host, ()), between)
        given.update(of_nodes)
        doors.update(of_links)

    await _at_each(dict.fromkeys(node.host.name for node in nodes), ready, forks)
    return given, doors


def _door(link: Link, bind: str, port: int, peer: int) -> Door:
    """In front of a node that binds there, on the same machine."""
    return Door(link, Address(bind, port), Address("::1" if ":" in bind else LOOPBACK, peer))


async def _relays(
    doors: Mapping[str, Sequence[Door]], sites: Mapping[str, Site], logs: Path, access: Access
) -> RelayShaper:
    """A relay on each machine that has doors."""
    relays: list[Relay] = []

    async def relay(host: str) -> None:
        relays.append(await sites[host].relay(doors[host], logs / f"relay-{file_name(host)}.log"))

    await _at_each(doors, relay, access.forks)
    return RelayShaper(relays, access.warn)


async def _at_each(hosts: Iterable[str], do: Callable[[str], Awaitable[None]], forks: int) -> None:
    slots = anyio.CapacityLimiter(forks)

    async def one(host: str) -> None:
        async with slots:
            await do(host)

    async with anyio.create_task_group() as tasks:
        for host in hosts:
            tasks.start_soon(one, host)
