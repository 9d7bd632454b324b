"""A chain without processes on machines without a disk: the engine cannot tell the difference, tests can.

Blocks follow from the clock alone: every `interval` one more. What goes wrong is said in the options."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from fractions import Fraction
from importlib.metadata import EntryPoint
from pathlib import PurePosixPath
from typing import Any

import anyio

from harness.api import (
    Address,
    Artifact,
    Block,
    BlockHeader,
    Capability,
    Chain,
    ChainClient,
    Config,
    Deployer,
    Duration,
    Exit,
    Facts,
    Head,
    Launch,
    Network,
    NetworkSpec,
    NodeFile,
    NodeSite,
    NodeSpec,
    Receipt,
    RoleInfo,
    SystemClock,
    Timing,
    Transaction,
    TransactionFactory,
    Unreachable,
    UsageError,
    Wallet,
    hookimpl,
)
from harness.plugin.discovery import Candidate, Kind
from harness.testing.fake_machines import (
    FACTS,
    FakeDeployer,
    FakeDeployerConfig,
    FakeDeployment,
    FakeMachine,
    FakeService,
    FakeWorld,
)

__all__ = [
    "FACTS",
    "FakeChain",
    "FakeChainConfig",
    "FakeClient",
    "FakeDeployer",
    "FakeDeployerConfig",
    "FakeDeployment",
    "FakeMachine",
    "FakeNetwork",
    "FakeService",
    "FakeTransactions",
    "FakeWorld",
    "fake_candidates",
]


def fake_candidates() -> list[Candidate]:
    """Entries for a Registry: the chain "fake" and the deployer "fake"."""
    return [
        Candidate(kind, "fake", "harness.testing", entry_point=EntryPoint(f"{kind}.fake", __name__, "harness"))
        for kind in (Kind.CHAIN, Kind.DEPLOYER)
    ]


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
