"""A network in memory and the context of a run on it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import anyio

from harness.api import (
    Address,
    BlockFeed,
    BlockSeen,
    Chain,
    Context,
    Expectation,
    Job,
    Judgement,
    Node,
    NodeSpec,
    Senders,
    Tracker,
    Transaction,
    Violation,
    Wallet,
    Window,
    Workload,
)
from harness.load.senders import senders
from harness.spec.node_patterns import select_nodes
from tests.observe.fakes import FakeFaults, FakeNetwork, FakeNode
from tests.observe.scripted_node import chain_of, header
from tests.observe.virtual_time import LoopClock

T = TypeVar("T")


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
