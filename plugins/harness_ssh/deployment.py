"""The machines of one run, ready for nodes: places, ports, addresses, artifacts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import anyio
import anyio.to_thread

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
from harness_ssh.hold import Hold
from harness_ssh.tunnels import LOOPBACK, Tunnels

NODES, ARTIFACTS = "nodes", "artifacts"


class SshDeployment(Deployment):
    """See harness_ssh.deployer."""

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


class ArtifactStore:
    """Artifacts on machines, each content sent to each machine once. They stay for the run: machines end as they were
    found, so nothing is kept for the next one."""

    def __init__(self, folders: Mapping[str, PurePosixPath], forks: int) -> None:
        self._folders = folders
        self._slots = anyio.CapacityLimiter(forks)
        self._hashes: dict[tuple[Path, int, int], str] = {}
        self._hashing = anyio.Lock()
        self._sending: dict[tuple[str, PurePosixPath], anyio.Lock] = {}
        self._sent: set[tuple[str, PurePosixPath]] = set()

    async def provide(self, machine: Machine, artifact: Artifact) -> PurePosixPath:
        content = artifact.content
        digest = hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else await self._hash(content)
        path = self._folders[machine.name] / ARTIFACTS / digest / file_name(artifact.name)
        key = machine.name, path
        async with self._sending.setdefault(key, anyio.Lock()):
            if key not in self._sent:
                async with self._slots:
                    await machine.put(content, path, 0o755 if artifact.executable else 0o644)
                self._sent.add(key)
        return path

    async def _hash(self, path: Path) -> str:
        """A file's SHA-256, worked out once for all machines as long as nobody replaces the file."""
        async with self._hashing:
            seen = await anyio.to_thread.run_sync(path.stat)
            key = path, seen.st_mtime_ns, seen.st_size
            if key not in self._hashes:
                self._hashes[key] = await anyio.to_thread.run_sync(_sha256, path)
            return self._hashes[key]


async def prepare(
    nodes: Sequence[PlannedNode],
    links: Sequence[Link],
    holds: Mapping[str, Hold],
    adopted: Mapping[str, Machine],
    tunnels: Tunnels,
    ports: tuple[int, int],
    forks: int,
) -> SshDeployment:
    """Ports on every machine, a place for every node, an address for every link and port. Raises
    InfrastructureError."""
    machines: dict[str, Machine] = {**adopted, **{name: hold.machine for name, hold in holds.items()}}
    ours = [node for node in nodes if node.adoption is None]
    given = await _ports(ours, holds, ports, forks)
    await _make_folders(ours, holds, forks)
    alone = len({node.host.name for node in ours}) == 1 and all(hold.api == "tunnel" for hold in holds.values())
    placements: dict[str, Placement] = {}
    for node in nodes:
        name = node.spec.name
        machine = machines[node.host.name]
        if node.adoption is not None:
            known = {port: address.port for port, address in node.adoption.endpoints.items()}
            placements[name] = Placement(node.spec, machine, PurePosixPath("/"), "", "", known)
            continue
        hold = holds[node.host.name]
        placements[name] = Placement(
            node=node.spec,
            machine=machine,
            directory=_directory(node, hold),
            bind=LOOPBACK if alone else _any(hold.address),
            advertise=LOOPBACK if alone else hold.address,
            ports=given[name],
        )
    peer_port = {node.spec.name: node.peer_port for node in nodes}
    endpoints: dict[tuple[str, str], Address] = {}
    for node in nodes:
        if node.adoption is not None:
            endpoints |= {(node.spec.name, port): address for port, address in node.adoption.endpoints.items()}
            continue
        hold = holds[node.host.name]
        for port, number in given[node.spec.name].items():
            address = Address(hold.address, number)
            if hold.api == "tunnel":
                address = await tunnels.open(node.host.name, number)
            endpoints[node.spec.name, port] = address
    addresses = {
        link: Address(placements[link.dst].advertise, placements[link.dst].ports[peer_port[link.dst]])
        for link in links
        if placements[link.dst].advertise
    }
    folders = {name: hold.client.folder for name, hold in holds.items()}
    return SshDeployment(machines, placements, addresses, endpoints, ArtifactStore(folders, forks))


async def _ports(
    nodes: Sequence[PlannedNode], holds: Mapping[str, Hold], between: tuple[int, int], forks: int
) -> dict[str, dict[str, int]]:
    """Ports by node and name, free on their machines and kept so."""
    given: dict[str, dict[str, int]] = {}
    slots = anyio.CapacityLimiter(forks)

    async def ask(host: str) -> None:
        mine = [node for node in nodes if node.host.name == host]
        async with slots:
            free = iter(await holds[host].client.ports(sum(len(node.ports) for node in mine), *between))
        given.update({node.spec.name: {port: next(free) for port in node.ports} for node in mine})

    async with anyio.create_task_group() as tasks:
        for host in dict.fromkeys(node.host.name for node in nodes):
            tasks.start_soon(ask, host)
    return given


async def _make_folders(nodes: Sequence[PlannedNode], holds: Mapping[str, Hold], forks: int) -> None:
    """Raises DeployError."""
    slots = anyio.CapacityLimiter(forks)

    async def make(host: str) -> None:
        folders = [str(_directory(node, holds[host])) for node in nodes if node.host.name == host]
        async with slots:
            made = await holds[host].machine.run(["mkdir", "-p", "--", *folders])
        if made.returncode != 0:
            raise DeployError(f"ssh: host {host}: no folder for a node: {made.stderr.decode(errors='replace').strip()}")

    async with anyio.create_task_group() as tasks:
        for host in dict.fromkeys(node.host.name for node in nodes):
            tasks.start_soon(make, host)


def _directory(node: PlannedNode, hold: Hold) -> PurePosixPath:
    return hold.client.folder / NODES / file_name(node.spec.name)


def _any(address: str) -> str:
    """Every address of a machine, of the kind that it is reached under."""
    return "::" if ":" in address else "0.0.0.0"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
