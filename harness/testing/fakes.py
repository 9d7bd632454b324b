"""A chain without processes on machines without a disk: the engine cannot tell the difference, tests can.

Blocks follow from the clock alone: every `interval` one more. What goes wrong is said in the options."""

from __future__ import annotations

import hashlib
import math
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from importlib.metadata import EntryPoint
from pathlib import Path, PurePosixPath
from typing import Any

import anyio

from harness.api import (
    Access,
    Address,
    Artifact,
    Block,
    BlockHeader,
    Capability,
    Chain,
    ChainClient,
    Completed,
    Config,
    Deployer,
    Deployment,
    DeployRequest,
    Duration,
    Exit,
    Facts,
    Head,
    HostReport,
    InfrastructureError,
    Launch,
    Link,
    Machine,
    MachineCapability,
    Network,
    NetworkSpec,
    NodeFile,
    NodeSite,
    NodeSpec,
    Placement,
    PlannedNode,
    Receipt,
    RoleInfo,
    Service,
    ServiceSpec,
    SystemClock,
    TeardownError,
    Timing,
    Transaction,
    TransactionFactory,
    Unreachable,
    UsageError,
    Wallet,
    hookimpl,
)
from harness.plugin.discovery import Candidate, Kind


def fake_candidates() -> list[Candidate]:
    """Entries for a Registry: the chain "fake" and the deployer "fake"."""
    return [
        Candidate(kind, "fake", "harness.testing", entry_point=EntryPoint(f"{kind}.fake", __name__, "harness"))
        for kind in (Kind.CHAIN, Kind.DEPLOYER)
    ]


@dataclass
class FakeWorld:
    """What a fake network is made of, shared by its chain and its deployer; one to a run.

    `services` are those that were ever spawned, by node; `files` what was put on the machine."""

    services: dict[str, FakeService] = field(default_factory=dict)
    starts: Counter[str] = field(default_factory=Counter)
    files: dict[PurePosixPath, bytes] = field(default_factory=dict)
    sent: list[Transaction] = field(default_factory=list)
    included: dict[int, list[str]] = field(default_factory=dict)
    torn_down: bool = False

    _worlds = {}  # type: ignore[var-annotated]  # noqa: RUF012 - run id → world

    @classmethod
    def of(cls, run_id: str) -> FakeWorld:
        """The world of this run, made at first use."""
        world: FakeWorld = cls._worlds.setdefault(run_id, cls())
        return world

    def runs(self, node: str) -> bool:
        """Whether the node's process lives and is not paused."""
        service = self.services.get(node)
        return service is not None and service.exit is None and not service.paused


class FakeService(Service):
    """A process in name only. Option "deaf" in its argv: it ignores every signal but SIGKILL."""

    _pids = iter(range(100_000, 10_000_000))

    def __init__(self, spec: ServiceSpec) -> None:
        self.spec = spec
        self.paused = False
        self._pid = next(self._pids)
        self._exit: Exit | None = None
        self._ended = anyio.Event()

    @property
    def pid(self) -> int:
        return self._pid

    @property
    def start_time(self) -> float:
        return float(self._pid)

    @property
    def exit(self) -> Exit | None:
        return self._exit

    async def wait(self) -> Exit:
        await self._ended.wait()
        assert self._exit is not None
        return self._exit

    async def signal(self, number: int) -> None:
        if number in (signal.SIGSTOP, signal.SIGCONT):
            self.paused = number == signal.SIGSTOP
        elif number == signal.SIGKILL or "deaf" not in self.spec.argv:
            self.end(Exit(None, number, SystemClock().wall()))

    def end(self, how: Exit) -> None:
        """Let it end, as if by itself."""
        if self._exit is None:
            self._exit = how
            self._ended.set()

    async def state(self) -> str:
        return "gone" if self._exit else "paused" if self.paused else "running"


FACTS = Facts("fake", "Linux", "6.1", "x86_64", "3.11.7", 1, 0, 0)
"""What a fake machine says of itself."""


class FakeMachine(Machine):
    """Holds files in a dict and services in its world."""

    name = "fake"
    capabilities = frozenset({MachineCapability.NODE_CONTROL, MachineCapability.PAUSE})

    def __init__(self, world: FakeWorld) -> None:
        self._world = world

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
        raise InfrastructureError("a fake machine runs no commands")

    async def put(self, content: bytes | Path, path: PurePosixPath, mode: int = 0o644) -> None:
        self._world.files[path] = content if isinstance(content, bytes) else b""

    async def get(self, path: PurePosixPath) -> bytes:
        if path not in self._world.files:
            raise FileNotFoundError(str(path))
        return self._world.files[path]

    async def fetch(self, path: PurePosixPath, to: Path) -> None:
        await anyio.Path(to).write_bytes(await self.get(path))

    async def remove(self, path: PurePosixPath) -> None:
        self._world.files.pop(path, None)

    async def spawn(self, spec: ServiceSpec) -> Service:
        service = FakeService(spec)
        self._world.services[spec.name] = service
        self._world.starts[spec.name] += 1
        return service

    async def facts(self) -> Facts:
        return FACTS


class FakeDeployerConfig(Config):
    """What is to go wrong: `fail_deploy` refuses to make machines, `fail_teardown` leaves something behind; with both,
    it refuses in the middle of making them, and leaves that."""

    fail_deploy: bool = False
    fail_teardown: bool = False


class FakeDeployer(Deployer[FakeDeployerConfig]):
    """Machines in memory."""

    name = "fake"
    Config = FakeDeployerConfig
    capabilities = frozenset({MachineCapability.NODE_CONTROL, MachineCapability.PAUSE})

    async def inspect(self, nodes: Sequence[PlannedNode], chain: Chain[Any], access: Access) -> Sequence[HostReport]:
        return [HostReport(name, self.capabilities, facts=FACTS) for name in sorted({node.host.name for node in nodes})]

    @asynccontextmanager
    async def deploy(self, request: DeployRequest) -> AsyncIterator[Deployment]:
        if self.config.fail_deploy and not self.config.fail_teardown:
            raise InfrastructureError("the fake deployer was asked to fail")
        world = FakeWorld.of(request.run_id)
        try:
            if self.config.fail_deploy:
                raise InfrastructureError("the fake deployer was asked to fail")
            yield FakeDeployment(request, world)
        finally:
            world.torn_down = True
            left = [name for name, service in world.services.items() if service.exit is None]
            if self.config.fail_teardown or left:
                raise TeardownError(f"left behind: {', '.join(left) or 'as asked'}")

    async def clean(self, run_id: str, run_dir: Path) -> Sequence[str]:
        return ()


class FakeDeployment(Deployment):
    """One machine for all nodes."""

    def __init__(self, request: DeployRequest, world: FakeWorld) -> None:
        machine = FakeMachine(world)
        self.placements = {
            node.spec.name: Placement(
                node.spec,
                machine,
                PurePosixPath("/fake") / node.spec.name,
                "fake",
                "fake",
                dict.fromkeys(node.ports, 1),
            )
            for node in request.nodes
        }

    def link_address(self, link: Link) -> Address:
        return Address(link.dst, 1)

    def endpoint(self, node: str, port: str) -> Address:
        return Address(node, 1)

    async def provide(self, machine: Machine, artifact: Artifact) -> PurePosixPath:
        return PurePosixPath("/fake") / artifact.name


class FakeChainConfig(Config):
    """`interval`: time from block to block. What is to go wrong: nodes that `never_answer`, that `stall` for good
    at a height, or that `exit_at` one; `once` ones never answer again once they were restarted; `deaf` ones ignore the
    stop signal; `not_installed`, what they need is not to be had."""

    interval: Duration = 0.02
    never_answer: tuple[str, ...] = ()
    stall: Mapping[str, int] = {}
    exit_at: Mapping[str, int] = {}
    once: tuple[str, ...] = ()
    deaf: tuple[str, ...] = ()
    lose_transactions: bool = False
    not_installed: bool = False


class FakeChain(Chain[FakeChainConfig]):
    """Blocks that follow from the clock alone."""

    name = "fake"
    Config = FakeChainConfig
    roles = {"validator": RoleInfo("votes", votes=True), "full": RoleInfo("follows", votes=False)}  # noqa: RUF012
    capabilities = frozenset({Capability.TRANSACTIONS, Capability.FINALITY})
    tolerance = Fraction(1, 2)

    @property
    def timing(self) -> Timing:
        return Timing(self.config.interval, finality_depth=2)

    def artifacts(self, facts: Facts) -> Sequence[Artifact]:
        if self.config.not_installed:
            raise UsageError(f"the fake node is not to be had for {facts.system}")
        return (Artifact("fake-node", b"fake", executable=True),)

    def network(self, spec: NetworkSpec) -> FakeNetwork:
        return FakeNetwork(spec, self.config)


class FakeNetwork(Network):
    """See FakeChain."""

    def __init__(self, spec: NetworkSpec, config: FakeChainConfig) -> None:
        self.spec = spec
        self.config = config
        self.world = FakeWorld.of(spec.run_id)
        self.wallets = tuple(Wallet(i, f"wallet-{i}", spec.wallets.balance) for i in range(spec.wallets.count))

    def launch(self, site: NodeSite) -> Launch:
        deaf = ("deaf",) if site.node.name in self.config.deaf else ()
        return Launch(
            (str(site.artifacts["fake-node"]), *deaf),
            files=(NodeFile(PurePosixPath("node.json"), b"{}"),),
            stop_timeout=0.05,
            panic_patterns=("panic",),
        )

    def client(self, node: NodeSpec, api: Address) -> ChainClient:
        return FakeClient(self, node.name)

    def power(self, node: NodeSpec) -> int:
        return int(node.role == "validator")

    def promised_blocks(self, start: float, end: float) -> float:
        return (end - start) / self.config.interval

    def transactions(self, rng: random.Random) -> TransactionFactory:
        return FakeTransactions()

    def height(self, node: str) -> int:
        """Of this node now. An `exit_at` that is reached ends its process."""
        height = max(0, math.floor((SystemClock().wall() - self.spec.genesis_time) / self.config.interval))
        if node in self.config.exit_at and height >= self.config.exit_at[node]:
            self.world.services[node].end(Exit(1, None, SystemClock().wall()))
        return min(height, self.config.stall.get(node, height))

    def header(self, height: int) -> BlockHeader:
        time = self.spec.genesis_time + height * self.config.interval
        included = self.world.included.get(height, [])
        return BlockHeader(height, _hash(height), _hash(height - 1), time, tx_count=len(included))


def _hash(height: int) -> str:
    return hashlib.sha256(str(height).encode()).hexdigest()


class FakeTransactions(TransactionFactory):
    """Numbers them."""

    def __init__(self) -> None:
        self._count = 0

    def make(self, sender: int) -> Transaction:
        self._count += 1
        return Transaction(f"tx-{sender}-{self._count}", b"", sender)


class FakeClient(ChainClient):
    """Talks to a fake node: unreachable while its process is gone or paused."""

    def __init__(self, network: FakeNetwork, node: str) -> None:
        self._network = network
        self._node = node

    def _require(self) -> None:
        config, world = self._network.config, self._network.world
        lost = self._node in config.never_answer or (self._node in config.once and world.starts[self._node] > 1)
        if lost or not world.runs(self._node):
            raise Unreachable(f"{self._node} does not answer")

    async def head(self) -> Head:
        self._require()
        height = self._network.height(self._node)
        return Head(height, _hash(height), max(0, height - 2))

    async def follow(self, after: int) -> AsyncIterator[BlockHeader]:
        while True:
            self._require()
            while after < self._network.height(self._node):
                after += 1
                yield self._network.header(after)
            await anyio.sleep(self._network.config.interval / 4)

    async def block(self, hash: str, height: int) -> Block:
        self._require()
        header = self._network.header(height)
        return Block(header, tuple(self._network.world.included.get(height, ())))

    async def peers(self) -> frozenset[str]:
        self._require()
        return self._network.spec.topology.peers_of(self._node)

    async def submit(self, transaction: Transaction) -> Receipt:
        self._require()
        self._network.world.sent.append(transaction)
        if not self._network.config.lose_transactions:
            # Two ahead: a block that somebody may be reading now does not change.
            self._network.world.included.setdefault(self._network.height("") + 2, []).append(transaction.id)
        return Receipt(True, transaction.id)

    async def aclose(self) -> None:
        """There is nothing to close."""


@hookimpl
def harness_chains() -> list[type[Chain[Any]]]:
    return [FakeChain]


@hookimpl
def harness_deployers() -> list[type[Deployer[Any]]]:
    return [FakeDeployer]
