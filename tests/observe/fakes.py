"""A network in memory, in virtual time: scripted nodes, a chain, a client and a Context. No test sleeps for real."""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import anyio

from harness.api import (
    Address,
    Block,
    BlockFeed,
    BlockHeader,
    BlockSeen,
    Chain,
    ChainClient,
    Context,
    Exit,
    Expectation,
    Fault,
    FaultControl,
    FaultRecord,
    FaultTurn,
    Head,
    Job,
    Judgement,
    Launch,
    Network,
    Node,
    NodeSite,
    NodeSpec,
    NodeState,
    Receipt,
    Senders,
    Tracker,
    Transaction,
    TransactionFactory,
    Unreachable,
    Unsupported,
    Violation,
    Wallet,
    Window,
    Workload,
)
from harness.load.senders import senders
from harness.spec.node_patterns import select_nodes

WALL = 1_700_000_000.0  # Unix seconds at moment 0 of virtual time

T = TypeVar("T")


class _VirtualSelector(selectors.DefaultSelector):
    """Instead of waiting for a timer, jumps to it. Waits for real only when no timer is set (a thread is at work)."""

    now = 1000.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        ready = super().select(0)
        if not ready:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only by waiting."""

    def __init__(self) -> None:
        self._virtual = _VirtualSelector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now

    def jump(self, seconds: float) -> None:
        """As if something had held the loop up for so long."""
        self._virtual.now += seconds


class LoopClock:
    """The event loop's time, virtual or not."""

    def now(self) -> float:
        return anyio.current_time()

    def wall(self) -> float:
        return WALL + self.now()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(max(0.0, seconds))

    async def sleep_until(self, moment: float) -> None:
        await self.sleep(moment - self.now())


def header(height: int, hash: str, parent: str, time: float = 0.0, proposer: str = "") -> BlockHeader:
    return BlockHeader(height, hash, parent, time, proposer)


def chain_of(*names: str) -> list[BlockHeader]:
    """Headers with these hashes, one on the other, from height 0 on."""
    return [header(i, name, names[i - 1] if i else "") for i, name in enumerate(names)]


class ScriptedNode:
    """A node's chain as its API shows it. `bodies` holds transactions by block hash."""

    def __init__(self, chain: Sequence[BlockHeader]) -> None:
        self.chain = list(chain)
        self.bodies: dict[str, tuple[str, ...]] = {}
        self.up = True
        self.withheld: set[str] = set()  # bodies that it says it does not have
        self.broken: Exception | None = None  # what its client raises, if anything
        self.connections = 0
        self.bodies_asked: list[str] = []
        self._changed = anyio.Event()

    @property
    def head(self) -> BlockHeader:
        return self.chain[-1]

    def change(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def grow(self, hash: str, time: float = 0.0) -> None:
        self.chain.append(header(self.head.height + 1, hash, self.head.hash, time))
        self.change()

    def replace(self, chain: Sequence[BlockHeader]) -> None:
        self.chain = list(chain)
        self.change()

    def go(self, up: bool) -> None:
        self.up = up
        self.change()

    def source(self) -> _Source:
        return _Source(self)

    def check(self) -> None:
        if self.broken is not None:
            raise self.broken
        if not self.up:
            raise Unreachable("connection refused")


class _Source:
    def __init__(self, node: ScriptedNode) -> None:
        self.node = node

    async def head(self) -> Head:
        await anyio.lowlevel.checkpoint()
        self.node.check()
        self.node.connections += 1
        return Head(self.node.head.height, self.node.head.hash, 0)

    async def follow(self, after: int) -> AsyncIterator[BlockHeader]:
        sent: dict[int, str] = {}
        while True:
            self.node.check()
            changed, fresh = self.node._changed, None
            for block in self.node.chain[after + 1 :]:
                if sent.get(block.height) != block.hash:
                    fresh = block
                    break
            if fresh is None:
                await changed.wait()
                continue
            sent = {height: hash for height, hash in sent.items() if height < fresh.height}
            sent[fresh.height] = fresh.hash
            yield fresh

    async def block(self, hash: str, height: int) -> Block:
        await anyio.lowlevel.checkpoint()
        self.node.check()
        self.node.bodies_asked.append(hash)
        if hash in self.node.withheld or height >= len(self.node.chain) or self.node.chain[height].hash != hash:
            raise LookupError(hash)
        return Block(self.node.chain[height], self.node.bodies.get(hash, ()))

    async def aclose(self) -> None:
        await anyio.lowlevel.checkpoint()


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


class World(Context):
    """A network and the context of a run on it. Blocks are made by hand: `await world.blocks(10)`."""

    def __init__(self, tmp_path: Path, names: Sequence[str], *, interval: float = 1.0, depth: int = 3) -> None:
        self.run_id, self.seed, self.component = "run-1", 7, "transactions"
        self.run_dir = tmp_path
        self.clock = LoopClock()
        self.interval = self.block_interval = interval
        self.finality_depth = depth
        self.quiet = False
        self.genesis = chain_of("genesis")
        self.mempool: dict[str, Transaction] = {}
        self.blobs: dict[str, bytes] = {}
        self.has_nonces = True
        self.includes = True
        self.bodies: dict[str, tuple[str, ...]] = {}
        self.nonces = dict.fromkeys(range(10), 0)
        wallets = [Wallet(index, f"wallet-{index}", 1000) for index in range(10)]
        self.balances = {wallet.address: wallet.balance for wallet in wallets}
        self.network = FakeNetwork(self, wallets)
        self.chain = cast(Chain[Any], SimpleNamespace(tolerance=Fraction(1, 2)))
        self.nodes: dict[str, FakeNode] = {}
        for number, name in enumerate(names):
            log = tmp_path / f"{name}.log"
            log.write_text("started\n")
            self.nodes[name] = FakeNode(self, NodeSpec(name, name.split("-")[0], 0, number), log)
            self.nodes[name].script.bodies = self.bodies
        self.feed = BlockFeed({name: node.script.source for name, node in self.nodes.items()}, depth, self.clock)
        self.faults = FakeFaults()
        self.goes_on = anyio.Event()
        self.goes_on.set()
        self.kept = AsyncExitStack()
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.figures: dict[str, Any] = {}
        self.violations: list[Violation] = []
        self._trackers: dict[str, Tracker] = {}
        self._window: Window | None = None
        self._deadline = 0.0
        self._made = 0

    # Context

    @property
    def window(self) -> Window:
        if self._window is None:
            raise RuntimeError("no window yet")
        return self._window

    @property
    def deadline(self) -> float:
        return self._deadline

    def rng(self, name: str = "") -> random.Random:
        return random.Random(f"{self.seed}/{self.component}/{name}")

    def tracker(self, name: str) -> Tracker:
        if name not in self._trackers:
            self._trackers[name] = Tracker(name, self.clock)
            self._trackers[name].watch(self.feed)
        return self._trackers[name]

    def trackers(self) -> Mapping[str, Tracker]:
        return self._trackers

    def senders(
        self, job: Job, peak: float, processes: int | None = None, most: int | None = None
    ) -> AbstractAsyncContextManager[Senders]:
        return senders(job, min(processes or 1, most or 1))

    def sent_to(self, node: Node, port: str = "") -> Address:
        return node.endpoint(port)

    async def unpaused(self) -> float:
        began = self.clock.now()
        await self.goes_on.wait()
        return self.clock.now() - began

    async def until_paused(self) -> None:
        while self.goes_on.is_set():
            await anyio.sleep(0.1)

    async def keep(self, resource: AbstractAsyncContextManager[T]) -> T:
        return await self.kept.enter_async_context(resource)

    def note(self, message: str, **data: Any) -> None:
        self.notes.append(message)

    def warn(self, message: str, **data: Any) -> None:
        self.warnings.append(message)

    def progress(self, **figures: float | int | str) -> None:
        self.figures.update(figures)

    def select(self, pattern: str) -> Sequence[Node]:
        chosen = select_nodes(pattern, [node.spec for node in self.nodes.values()])
        return [self.nodes[spec.name] for spec in chosen]

    # The network

    @asynccontextmanager
    async def live(self) -> AsyncIterator[World]:
        """Follow the nodes with the feed."""
        async with anyio.create_task_group() as tasks:
            await tasks.start(self._run_feed)
            await anyio.wait_all_tasks_blocked()
            yield self
            tasks.cancel_scope.cancel()

    async def _run_feed(self, *, task_status: Any) -> None:
        await self.feed.run(task_status=task_status)

    def make_block(self, *names: str, include: bool = True, time: float | None = None, proposer: str = "") -> None:
        """One block more on these nodes (on all that are up), on the highest of theirs, with the mempool in it. It says
        that it was made at `time` (Unix seconds), or now."""
        nodes = [self.nodes[name] for name in names] or [node for node in self.nodes.values() if node.script.up]
        if not nodes:
            return
        self._made += 1
        hash = f"block-{self._made}"
        ids: tuple[str, ...] = ()
        if include and self.includes:
            ids = tuple(self.mempool)
            for transaction in self.mempool.values():
                for address, amount in transaction.effects.items():
                    self.balances[address] += amount
            self.mempool.clear()
        best = max((node.script for node in nodes), key=lambda script: script.head.height)
        chain = [*best.chain, header(best.head.height + 1, hash, best.head.hash, time or self.clock.wall(), proposer)]
        self.bodies[hash] = ids
        for node in nodes:
            node.script.replace(chain)

    async def blocks(self, count: int, *names: str, include: bool = True) -> None:
        """So many blocks, one an interval."""
        for _ in range(count):
            await anyio.sleep(self.interval)
            self.make_block(*names, include=include)
        await anyio.wait_all_tasks_blocked()

    # The run

    def begin(self, seconds: float = 1e9) -> None:
        self._window = Window(self.clock.now(), self.clock.wall())
        self._deadline = self.clock.now() + seconds

    def end(self) -> None:
        window = self.window
        self._window = Window(window.start, window.start_wall, self.clock.now(), self.clock.wall())
        self.quiet = True

    async def capture(self, expectation: Expectation[Any]) -> None:
        """As the engine does: the baseline, then every block."""
        await expectation.capture(self)

        def seen(block: BlockSeen) -> None:
            if violation := expectation.observe_block(self, block):
                self.violations.append(violation)

        self.feed.subscribe(seen)

    async def drive(self, workload: Workload[Any], seconds: float, *, block_every: float | None = None) -> None:
        """Run a workload while the network makes blocks."""
        await workload.prepare(self)
        self.begin(seconds)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.blocks_for_ever, block_every or self.interval)
            await workload.run(self)
            tasks.cancel_scope.cancel()
        self.end()

    async def blocks_for_ever(self, interval: float) -> None:
        while True:
            await anyio.sleep(interval)
            self.make_block()

    async def evaluate(self, expectation: Expectation[Any], *, making: bool = True) -> Judgement:
        """Ask for the judgement, with blocks being made meanwhile unless told otherwise."""
        async with anyio.create_task_group() as tasks:
            if making:
                tasks.start_soon(self.blocks_for_ever, self.interval)
            judgement = await expectation.evaluate(self)
            tasks.cancel_scope.cancel()
        return judgement
