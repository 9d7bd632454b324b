"""A network in memory: its nodes, what they answer, and faults of it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from harness.api import (
    Address,
    Block,
    BlockHeader,
    ChainClient,
    Exit,
    Fault,
    FaultControl,
    FaultRecord,
    FaultTurn,
    Head,
    Launch,
    Network,
    Node,
    NodeSite,
    NodeSpec,
    NodeState,
    Receipt,
    Transaction,
    TransactionFactory,
    Unsupported,
    Wallet,
)
from tests.observe.scripted_node import ScriptedNode

if TYPE_CHECKING:
    from tests.observe.world import World


@dataclass
class Behaviour:
    """How a node's API treats submissions."""

    delay: float = 0.0
    reject: str = ""
    hang: bool = False
    corrupt: bool = False  # gives back other bytes than it was given
    lost: bool = False  # cannot reconstruct blobs
    forged: dict[str, int] = field(default_factory=dict)  # balances that it lies about


class FakeNode(Node):
    capabilities = frozenset()

    def __init__(self, world: World, spec: NodeSpec, log_path: Path) -> None:
        self.world = world
        self.spec = spec
        self.log_path = log_path
        self.launch = Launch(("node",), panic_patterns=(r"panic:", r"^FATAL"))
        self.script = ScriptedNode(world.genesis)
        self.behaviour = Behaviour()
        self.ends: list[tuple[Exit, bool]] = []
        self.now_state = NodeState.RUNNING
        self.clients = 0
        self.submitted: list[Transaction] = []

    @property
    def state(self) -> NodeState:
        return self.now_state

    @property
    def exits(self) -> Sequence[tuple[Exit, bool]]:
        return self.ends

    @property
    def pid(self) -> int | None:
        return 1

    async def start(self, extra_args: Sequence[str] = ()) -> None: ...
    async def stop(self) -> Exit:
        return Exit(0, None, 0.0)

    async def kill(self) -> Exit:
        return Exit(None, 9, 0.0)

    async def pause(self) -> None: ...
    async def resume(self) -> None: ...
    async def wait_ready(self, timeout: float) -> None: ...
    async def process_state(self) -> str:
        return "running"

    def endpoint(self, port: str = "api") -> Address:
        return Address("127.0.0.1", 1)

    def client(self) -> FakeClient:
        return FakeClient(self)

    def new_client(self) -> FakeClient:
        self.clients += 1
        return FakeClient(self, counted=True)


class FakeClient(ChainClient):
    def __init__(self, node: FakeNode, counted: bool = False) -> None:
        self.node = node
        self.counted = counted
        self.source = node.script.source()

    async def head(self) -> Head:
        return await self.source.head()

    def follow(self, after: int) -> AsyncIterator[BlockHeader]:
        return self.source.follow(after)

    async def block(self, hash: str, height: int) -> Block:
        return await self.source.block(hash, height)

    async def peers(self) -> frozenset[str]:
        return frozenset()

    async def aclose(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.node.clients -= self.counted
        self.counted = False

    async def submit(self, transaction: Transaction) -> Receipt:
        await self._think()
        world, expected = self.node.world, self.node.world.nonces[transaction.sender]
        self.node.submitted.append(transaction)
        if self.node.behaviour.reject:
            return Receipt(False, transaction.id, self.node.behaviour.reject)
        if transaction.nonce != expected:
            return Receipt(False, transaction.id, f"nonce {transaction.nonce}, not {expected}")
        world.nonces[transaction.sender] += 1
        world.mempool[transaction.id] = transaction
        return Receipt(True, transaction.id)

    async def nonce(self, address: str) -> int:
        await self._think()
        if not self.node.world.has_nonces:
            raise Unsupported("no nonces")
        return self.node.world.nonces[int(address.removeprefix("wallet-"))]

    async def balance(self, address: str) -> int:
        await self._think()
        return self.node.behaviour.forged.get(address, self.node.world.balances[address])

    async def write_channel(self, channel: str, payload: bytes) -> Receipt:
        return await self._store("op", payload)

    async def disperse(self, channel: str, blob: bytes) -> Receipt:
        return await self._store("blob", blob)

    async def retrieve(self, blob: str) -> bytes:
        await self._think()
        if self.node.behaviour.lost:
            raise LookupError(blob)
        content = self.node.world.blobs[blob]
        return content[::-1] if self.node.behaviour.corrupt else content

    async def _store(self, kind: str, payload: bytes) -> Receipt:
        await self._think()
        world = self.node.world
        id = f"{kind}-{len(world.blobs)}"
        if self.node.behaviour.reject:
            return Receipt(False, "", self.node.behaviour.reject)
        world.blobs[id] = payload
        world.mempool[id] = Transaction(id, payload, -1)
        return Receipt(True, id)

    async def _think(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.node.script.check()
        if self.node.behaviour.hang:
            await anyio.sleep_forever()
        await anyio.sleep(self.node.behaviour.delay)


class FakeFactory(TransactionFactory):
    def __init__(self, wallets: Sequence[Wallet], rng: random.Random) -> None:
        self.wallets = wallets
        self.rng = rng
        self.next: dict[int, int] = {wallet.index: 0 for wallet in wallets}

    def make(self, sender: int) -> Transaction:
        nonce = self.next[sender]
        self.next[sender] += 1
        to = self.wallets[self.rng.randrange(len(self.wallets))].address
        effects = {self.wallets[sender].address: -1}
        effects[to] = effects.get(to, 0) + 1
        return Transaction(f"tx-{sender}-{nonce}-{self.rng.getrandbits(32):08x}", b"", sender, nonce, effects)

    def release(self, transaction: Transaction) -> None:
        self.next[transaction.sender] = transaction.nonce

    def resync(self, sender: int, nonce: int) -> None:
        self.next[sender] = nonce


class FakeNetwork(Network):
    def __init__(self, world: World, wallets: Sequence[Wallet]) -> None:
        self.world = world
        self.wallets = wallets

    def launch(self, site: NodeSite) -> Launch:
        raise NotImplementedError

    def client(self, node: NodeSpec, api: Address) -> ChainClient:
        raise NotImplementedError

    def promised_blocks(self, start: float, end: float) -> float:
        return (end - start) / self.world.interval

    def transactions(self, rng: random.Random) -> TransactionFactory:
        return FakeFactory(self.wallets, rng)


class FakeFaults(FaultControl):
    def __init__(self) -> None:
        self.windows: dict[str, list[tuple[float, float | None]]] = {}
        self.mild: set[str] = set()  # nodes whose faults take nothing down

    def apply(
        self, fault: Fault[Any], targets: Sequence[Node], *, by: str, turn: int | None = None
    ) -> AbstractAsyncContextManager[FaultRecord]:
        raise NotImplementedError

    def schedule(self, turns: Sequence[FaultTurn], *, by: str) -> Sequence[FaultTurn]:
        return turns

    def skip(self, turn: int, why: str, *, by: str) -> None:
        raise NotImplementedError

    def refuses(self, fault: Fault[Any], targets: Sequence[Node]) -> str:
        return ""

    async def one_over(self) -> bool:
        return False

    @property
    def absent(self) -> Sequence[str]:
        return ()

    @property
    def doubts(self) -> Sequence[str]:
        return ()

    @property
    def history(self) -> Sequence[FaultRecord]:
        return [
            FaultRecord(f"{node}-{number}", "restart", (node,), "test", start, end, downs=frozenset({node} - self.mild))
            for node, windows in self.windows.items()
            for number, (start, end) in enumerate(windows)
        ]

    def disturbed(self, node: str) -> Sequence[tuple[float, float | None]]:
        return self.windows.get(node, [])
