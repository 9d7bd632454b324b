"""Small networks for the devnet's tests: a genesis, one chain, a simulated network, real processes."""

from __future__ import annotations

import asyncio
import heapq
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from harness.api import Address, NetworkSpec, NodeSite, PeerAddress, TopologySpec, Unreachable, WalletsSpec
from harness.spec.topology import build_topology
from harness.testing.fakes import FACTS
from harness_devnet.chain import Devnet, DevnetConfig, DevnetNetwork
from harness_devnet.client import DevnetClient
from harness_devnet.node import ed25519, genesis, lottery, transactions
from harness_devnet.node.codec import decode_object, digest
from harness_devnet.node.consensus import Chain, Identity
from harness_devnet.node.core import Core, PeerFault
from harness_devnet.node.da import MemoryShares
from harness_devnet.node.misbehave import Conduct
from harness_devnet.node.store import MemoryStore

GENESIS_TIME = 1_700_000_000


class Keys:
    """The secrets behind a test's genesis."""

    def __init__(self, validators: int = 3, executors: int = 0, wallets: int = 4, **options: Any) -> None:
        names = [f"validator-{i}" for i in range(validators)] + [f"executor-{i}" for i in range(executors)]
        self.secrets = {name: bytes.fromhex(digest(name.encode())) for name in names}
        self.wallet_secrets = [bytes.fromhex(digest(f"wallet {i}".encode())) for i in range(wallets)]
        self.addresses = [ed25519.public_key(secret).hex() for secret in self.wallet_secrets]
        f, stakes = options.get("f", 0.5), options.get("stakes", [1] * validators)
        limits = {name: getattr(genesis.Limits(), name) for name in genesis.Limits.__slots__} | options.get(
            "limits", {}
        )
        self.document = {
            "time": GENESIS_TIME * 1_000_000,
            "slot": 1_000_000,
            "epoch_slots": options.get("epoch_slots", 100),
            "k": options.get("k", 5),
            "seed": digest(str(options.get("seed", 0)).encode()),
            "members": [
                {
                    "name": name,
                    "role": name.split("-")[0],
                    "key": ed25519.public_key(secret).hex(),
                    "stake": stakes[i] if i < validators else 0,
                    "threshold": f"{lottery.threshold(stakes[i] if i < validators else 0, sum(stakes), f):064x}",
                }
                for i, (name, secret) in enumerate(self.secrets.items())
            ],
            "balances": {address: options.get("balance", 1000) for address in self.addresses},
            "limits": limits,
        }
        self.genesis = genesis.parse(self.document)

    def identity(self, name: str) -> Identity:
        member = next(member for member in self.genesis.members if member.name == name)
        return Identity(member, self.secrets[name])

    def transfer(self, sender: int, to: int, amount: int, nonce: int) -> dict[str, Any]:
        body = transactions.transfer(self.genesis.hash, self.addresses[sender], self.addresses[to], amount, nonce)
        return transactions.signed(body, self.wallet_secrets[sender])

    def tx(self, sender: int, to: int, amount: int, nonce: int) -> transactions.Tx:
        return transactions.parse(self.transfer(sender, to, amount, nonce), self.genesis)

    def chain(self, wall: Callable[[], float] = lambda: GENESIS_TIME + 1e6) -> Chain:
        return Chain(self.genesis, MemoryStore(), wall)

    def led_slot(self, after: int = 0) -> tuple[int, Identity]:
        """The next slot that anybody leads, and one who does."""
        slot = after + 1
        while not (leaders := Chain(self.genesis, MemoryStore(), lambda: 0).lottery.leaders(slot)):
            slot += 1
        return slot, self.identity(leaders[0].name)

    def extend(self, chain: Chain, count: int = 1, *, skip: int = 0) -> None:
        """Put blocks on a chain, each in the next slot that has a leader, `skip` slots further on at first."""
        slot = chain.head.slot + skip
        for _ in range(count):
            slot, who = self.led_slot(slot)
            chain.add(chain.propose(slot, who, chain.head))


@pytest.fixture(scope="session")
def keys() -> type[Keys]:
    return Keys


class _SimulatedHost:
    def __init__(self, network: Simulation, name: str) -> None:
        self._network, self._name = network, name

    def wall(self) -> float:
        return GENESIS_TIME + self._network.time

    def now(self) -> float:
        return self._network.time

    def later(self, delay: float, call: Callable[[], None]) -> None:
        self._network.at(delay, call)

    def send(self, peer: str, message: bytes) -> None:
        self._network.deliver(self._name, peer, message)


class Simulation:
    """Protocol cores on simulated time, linked by lossless links of a fixed delay, which can be cut and mended."""

    DELAY = 0.02

    def __init__(self, keys: Keys, links: list[tuple[str, str]], conduct: dict[str, Conduct] | None = None) -> None:
        self.keys = keys
        self.time = 0.5  # so that whole seconds end in the middle of a slot, with nothing under way
        self.cores: dict[str, Core] = {}
        self._links = {frozenset(link) for link in links}
        self._up: set[frozenset[str]] = set()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self.faults: list[tuple[str, str]] = []
        for name in keys.secrets:
            host = _SimulatedHost(self, name)
            behaviour = (conduct or {}).get(name, Conduct())
            store = MemoryStore()
            self.cores[name] = Core(keys.genesis, keys.identity(name), store, MemoryShares(), host, behaviour)
        for name in keys.secrets:
            self.cores[name].start()
        self.mend(*self._links)

    def at(self, delay: float, call: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (self.time + delay, self._count, call))

    def deliver(self, source: str, to: str, message: bytes) -> None:
        link = frozenset((source, to))

        def arrive() -> None:
            if link in self._up:
                try:
                    self.cores[to].received(source, decode_object(message))
                except PeerFault as fault:
                    self.faults.append((source, str(fault)))

        if link in self._up:
            self.at(self.DELAY, arrive)

    def cut(self, *links: frozenset[str]) -> None:
        for link in links:
            if link in self._up:
                self._up.remove(link)
                a, b = sorted(link)
                self.cores[a].disconnected(b)
                self.cores[b].disconnected(a)

    def mend(self, *links: frozenset[str]) -> None:
        for link in links:
            if link in self._links and link not in self._up:
                self._up.add(link)
                a, b = sorted(link)
                hellos = self.cores[a].hello(), self.cores[b].hello()
                self.cores[a].connected(b, hellos[1])
                self.cores[b].connected(a, hellos[0])

    def across(self, group: set[str]) -> list[frozenset[str]]:
        """The links between a group and the others."""
        return [link for link in self._links if len(link & group) == 1]

    def run(self, seconds: float) -> None:
        end = self.time + seconds
        while self._events and self._events[0][0] <= end:
            self.time, _, call = heapq.heappop(self._events)
            call()
        self.time = end

    def heads(self) -> set[str]:
        return {core.chain.head.hash for core in self.cores.values()}


@pytest.fixture(scope="session")
def simulation() -> type[Simulation]:
    return Simulation


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class RealNetwork:
    """Real node processes on this machine, started from what Network.launch says and nothing else."""

    def __init__(self, folder: Path, layout: str, roles: dict[str, int], python: str, **options: Any) -> None:
        self.folder = folder
        self.chain = Devnet(DevnetConfig(**options))
        self.topology = build_topology(TopologySpec(layout, roles), random.Random(1))
        wallets = WalletsSpec(4, 1000)
        assert not self.chain.check(self.topology, wallets)
        self.network: DevnetNetwork = self.chain.network(NetworkSpec("test", 7, self.topology, wallets, time.time()))
        (artifact,) = self.chain.artifacts(FACTS)
        assert isinstance(artifact.content, bytes)
        (folder / artifact.name).write_bytes(artifact.content)
        self.ports = {node.name: {"p2p": _free_port(), "api": _free_port()} for node in self.topology.nodes}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.clients: list[DevnetClient] = []
        self.launches = {}
        for node in self.topology.nodes:
            dials = tuple(
                PeerAddress(self.topology.node(link.dst), Address("127.0.0.1", self.ports[link.dst]["p2p"]))
                for link in self.topology.links
                if link.src == node.name
            )
            home = folder / node.name
            home.mkdir()
            launch = self.network.launch(
                NodeSite(
                    node, PurePosixPath(home), "127.0.0.1", "127.0.0.1", self.ports[node.name], dials,
                    {artifact.name: PurePosixPath(folder / artifact.name)}, python,
                )
            )  # fmt: skip
            for file in launch.files:
                (home / file.path).write_bytes(file.content)
            self.launches[node.name] = launch

    def start(self, *names: str) -> None:
        for name in names or tuple(self.ports):
            launch, home = self.launches[name], self.folder / name
            with (home / "log").open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    launch.argv, stdout=log, stderr=log, cwd=home, env={**os.environ, **launch.env}
                )

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        self.processes[name].send_signal(number)
        return self.processes[name].wait(timeout=10)

    def log(self, name: str) -> str:
        return (self.folder / name / "log").read_text()

    def client(self, name: str) -> DevnetClient:
        client = self.network.client(self.topology.node(name), Address("127.0.0.1", self.ports[name]["api"]))
        self.clients.append(client)
        return client

    async def linked(self) -> None:
        """Wait until every node answers and has all the peers that the layout gives it."""
        clients = {name: self.client(name) for name in self.ports}

        async def complete() -> bool:
            return all([await c.peers() == self.topology.peers_of(name) for name, c in clients.items()])

        await self.until(complete)

    async def until(self, what: Callable[[], Awaitable[Any]], seconds: float = 20.0) -> Any:
        """Ask until the answer is true; an unreachable node is not there yet."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if answer := await what():
                    return answer
            except (Unreachable, LookupError):
                pass
            if time.monotonic() > deadline:
                logs = "\n".join(f"--- {name}\n{self.log(name)[-2000:]}" for name in self.ports)
                raise AssertionError(f"not so within {seconds} s\n{logs}")
            await asyncio.sleep(0.02)

    async def aclose(self) -> None:
        for client in self.clients:
            await client.aclose()


@pytest.fixture
async def real_network(tmp_path: Path) -> Any:
    networks: deque[RealNetwork] = deque()

    def make(
        layout: str, roles: dict[str, int], *, python: str = sys.executable, start: bool = True, **options: Any
    ) -> RealNetwork:
        folder = tmp_path / str(len(networks))
        folder.mkdir()
        network = RealNetwork(folder, layout, roles, python, **({"slot_duration": "100ms"} | options))
        networks.append(network)
        if start:
            network.start()
        return network

    yield make
    for network in networks:
        for process in network.processes.values():
            process.kill()
            process.wait()
        await network.aclose()
