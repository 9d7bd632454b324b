"""The block feed: the blocks seen at every node, with one connection each."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType

import anyio
from anyio.abc import TaskGroup, TaskStatus

from harness.clock import Clock
from harness.errors import Unreachable
from harness.observe.blind import BlindSpots
from harness.observe.blocks import Block, BlockHeader, BlockSeen, BlockSource
from harness.observe.bodies import Bodies
from harness.observe.finality import Conflict, FinalityLedger
from harness.observe.subscribers import Subscribers
from harness.observe.view import NodeView, cut, joins, keep_above

FIRST_RETRY, LAST_RETRY = 0.1, 1.0  # seconds between attempts to reach a node, doubling
CLOSE_TIMEOUT = 1.0  # seconds
ERROR_LENGTH = 500  # characters kept of what a node's client says
CONFLICTS_KEPT = 256


class _Lost(Exception):
    """The connection to a node is of no use any more."""


@dataclass(slots=True, eq=False)
class _Waiter:
    """Somebody who waits for a condition; `error` is what asking for it raised."""

    condition: Callable[[], bool]
    over: anyio.Event = field(default_factory=anyio.Event)
    error: Exception | None = None

    def ask(self) -> None:
        if self.over.is_set():
            return
        try:
            holds = self.condition()
        except Exception as error:  # noqa: BLE001 - it is the waiter's own, and is raised there
            self.error, holds = error, True
        if holds:
            self.over.set()


class BlockFeed:
    """Follows the best chain of every node and tells its subscribers, on the event loop, of each block.

    Subscribers are plain functions that return at once. Feed state is brought up to date before they are called.
    One that raises is dropped, which `on_defect` tells. A node that does not answer is tried again until removed."""

    def __init__(self, sources: Mapping[str, Callable[[], BlockSource]], finality_depth: int, clock: Clock) -> None:
        self._clock = clock
        self.finality_depth = finality_depth
        self.window = max(256, 8 * (finality_depth + 1))
        """How many heights back chains are remembered."""
        self.finality = FinalityLedger(self.window)
        self.conflicts: list[Conflict] = []
        """The first conflicts between final blocks; `conflict_count` counts them all."""
        self.conflict_count = 0
        self._sources: dict[str, Callable[[], BlockSource]] = {}
        self._views: dict[str, NodeView] = {}
        self._scopes: dict[str, anyio.CancelScope] = {}
        self._tasks: TaskGroup | None = None
        self._waiting: list[_Waiter] = []
        self._on_block = Subscribers[BlockSeen](self._defect)
        self._on_connection = Subscribers[str, bool, str](self._defect)
        self._on_conflict = Subscribers[Conflict](self._defect)
        self._on_body = Subscribers[Block, str, float](self._defect)
        self._on_defect = Subscribers[str, Exception](self._note_defect)
        self.defects: list[tuple[str, Exception]] = []
        """Subscribers that raised, and were dropped for it: name and exception. What they kept is incomplete."""
        self._floor = 0
        self._bodies = Bodies(self.window)
        self._blind = BlindSpots(clock)
        for node, source in sources.items():
            self.add(node, source)

    # What is known

    @property
    def nodes(self) -> Mapping[str, NodeView]:
        return MappingProxyType(self._views)

    @property
    def highest(self) -> int:
        """The greatest height of any node, -1 before the first block."""
        return max((view.height for view in self._views.values()), default=-1)

    @property
    def bodies_missing(self) -> int:
        """How many blocks were seen whose transactions no node has given (yet)."""
        return self._bodies.missing

    def unobserved(self, node: str) -> Sequence[tuple[float, float]]:
        """When nothing could be seen of this node (monotonic seconds), in no order: there was no connection to it, its
        blocks were still being read after a new one, or the event loop itself was held up. What was seen first after
        such a span, within a moment, may have happened at any time in it."""
        return self._blind.of(node)

    @property
    def held_up(self) -> Sequence[tuple[float, float]]:
        """When the event loop itself was held up, so that nothing was seen in time of any node (monotonic seconds), in
        order."""
        return self._blind.held_up

    def canonical(self, hash: str, height: int) -> bool | None:
        """Whether this block is on the chain that most nodes have at its height (of two equally common ones, the
        higher chain). None when no node has shown that height, or when it is too long ago."""
        holders = [view for view in self._views.values() if height in view.chain]
        if not holders:
            return None
        votes = Counter(view.chain[height] for view in holders)
        best = max(holders, key=lambda view: (votes[view.chain[height]], view.height))
        return best.chain[height] == hash

    # Who wants to know. Each of these returns a function that ends the subscription.

    def subscribe(self, callback: Callable[[BlockSeen], object]) -> Callable[[], None]:
        """Call it for every block that is new at some node, replacements after a reorganisation included."""
        return self._on_block.add(callback)

    def on_connection(self, callback: Callable[[str, bool, str], object]) -> Callable[[], None]:
        """Call it with a node's name, whether it is connected, and why not (untrusted text), when that changes."""
        return self._on_connection.add(callback)

    def on_conflict(self, callback: Callable[[Conflict], object]) -> Callable[[], None]:
        """Call it for every conflict between final blocks."""
        return self._on_conflict.add(callback)

    def on_body(self, callback: Callable[[Block, str, float], object]) -> Callable[[], None]:
        """Call it once for every block seen anywhere from now on, orphaned ones included, with its transactions,
        the first node that had it, and when that was (monotonic seconds)."""
        return self._on_body.add(callback)

    def on_defect(self, callback: Callable[[str, Exception], object]) -> Callable[[], None]:
        """Call it with the name of a subscriber that raised, and what it raised; it has been dropped."""
        return self._on_defect.add(callback)

    async def wait(self, condition: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait until `condition()` holds; it is asked again after every block and every change of connection.
        Returns False when it still does not after `timeout` seconds. Raises what the condition raises."""
        if condition():
            return True
        waiter = _Waiter(condition)
        self._waiting.append(waiter)
        try:
            if timeout is None:
                await waiter.over.wait()
            else:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._expire, timeout, tasks.cancel_scope)
                    await waiter.over.wait()
                    tasks.cancel_scope.cancel()
        finally:
            self._waiting.remove(waiter)
        if waiter.error is not None:
            raise waiter.error
        return waiter.over.is_set()

    async def wait_height(
        self,
        height: int,
        *,
        nodes: Collection[str] | None = None,
        all_nodes: bool = True,
        timeout: float | None = None,
    ) -> bool:
        """Wait until all of `nodes` (by default: of the feed), or any one of them, have reached `height`.
        Returns False when they have not after `timeout` seconds."""

        def reached() -> bool:
            names = self._views.keys() if nodes is None else nodes
            there = (name in self._views and self._views[name].height >= height for name in names)
            return all(there) if all_nodes else any(there)

        return await self.wait(reached, timeout)

    # Life

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Follow all nodes until cancelled."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            try:
                tasks.start_soon(self._blind.watch_loop)
                for node in self._views:
                    tasks.start_soon(self._follow_for_ever, node)
                task_status.started()
                await anyio.sleep_forever()
            finally:
                self._tasks = None

    def begin_at(self, height: int) -> None:
        """Blocks up to this height are history, which nobody looks at: called before `run`, for a chain that was there
        before. A node that is below it is followed from where it is."""
        self._floor = max(0, height)
        self.finality.floor = self._floor

    def add(self, node: str, source: Callable[[], BlockSource]) -> None:
        """Follow one more node; `source` makes a connection, again after each loss of one."""
        if node in self._views:
            raise ValueError(f"{node} is followed already")
        self._sources[node] = source
        self._views[node] = NodeView(node)
        self.finality.join(node)
        self._blind.lost(node)
        if self._tasks is not None:
            self._tasks.start_soon(self._follow_for_ever, node)

    def remove(self, node: str) -> None:
        """Follow this node no longer, and forget its view."""
        del self._views[node], self._sources[node]
        self.finality.leave(node)
        if scope := self._scopes.pop(node, None):
            scope.cancel()
        self._wake()

    # One node

    async def _follow_for_ever(self, node: str) -> None:
        if node not in self._views:
            return  # removed before it began
        view, make = self._views[node], self._sources[node]
        delay = FIRST_RETRY
        with anyio.CancelScope() as scope:
            self._scopes[node] = scope
            while True:
                blocks = view.blocks_seen
                try:
                    await self._follow(view, make)
                except _Lost as lost:
                    self._connection(view, False, str(lost)[:ERROR_LENGTH])
                delay = FIRST_RETRY if view.blocks_seen > blocks else min(2 * delay, LAST_RETRY)
                await self._clock.sleep(delay)

    async def _follow(self, view: NodeView, make: Callable[[], BlockSource]) -> None:
        """Connect and follow until the connection is lost. Raises _Lost."""
        with _guard():
            source = make()
        try:
            with _guard():
                head = await source.head()
            view.last_seen_at = self._clock.now()
            cut(view, head.height)
            self._connection(view, True, "")
            if head.height <= 0:
                self._blind.found(view.name)  # there is nothing to be read
            # The best block known comes once more: if it has been replaced meanwhile, this shows it.
            after = view.height - 1 if view.chain else self._start(head.height)
            await self._read(view, source, after, head.height)
        finally:
            await _close(source)

    def _start(self, head: int) -> int:
        """The height above which to begin with a node whose head is there."""
        return max(self._floor, head - self.window) if head > self._floor else head - 1

    async def _read(self, view: NodeView, source: BlockSource, after: int, history: int) -> None:
        """Take all headers above `after`; those up to height `history` are old. Raises _Lost.

        A header that does not join on to the known chain means that the node has changed its mind further down
        than it told: read again from below its finality, then from the bottom of the window, and at last take
        what it says."""
        trust_until, fruitless = -1, 0
        while True:
            with _guard():
                headers = source.follow(max(0, after))
            try:
                while True:
                    with _guard():
                        header = await anext(headers)
                    if header.height > trust_until and not joins(view, header):
                        break
                    live = header.height > history
                    new = self._take(view, header, live)
                    if header.height >= history:
                        history = -1
                        self._blind.found(view.name)
                    if new:
                        fruitless = 0
                        await self._fetch_bodies(view, source)
            finally:
                if isinstance(headers, AsyncGenerator):
                    await _close(headers)
            fruitless += 1
            after = header.height - self.finality_depth - 2
            if fruitless > 1:
                after, trust_until = min(after, next(iter(view.chain)) - 1), header.height

    async def _fetch_bodies(self, view: NodeView, source: BlockSource) -> None:
        """Between two headers, so that a node is never asked two things at once."""
        for hash, height in self._bodies.offered_by(view.chain):
            with _guard():
                fetched = await self._bodies.fetch(source, hash, height)
            if fetched is not None:
                self._on_body.tell(*fetched)

    def _take(self, view: NodeView, header: BlockHeader, live: bool) -> bool:
        """Note the next block of a node's best chain. False when it was known."""
        now, height, hash = self._clock.now(), header.height, sys.intern(header.hash)
        view.last_seen_at = now
        if view.chain.get(height) == hash:
            return False
        if height <= view.height:
            view.reorganisations += 1
            cut(view, height - 1)
        view.chain[height] = view.hash = hash
        view.height = height
        view.blocks_seen += 1
        if view.final.get(height, hash) != hash:
            self._revert(view, height, hash, now)
        keep_above(height - self.window, view.chain)
        self._finalise(view, now)
        if self._on_body:
            self._bodies.want(hash, height, view.name, now)
        seen = BlockSeen(view.name, header, now, self._clock.wall(), live)
        self._on_block.tell(seen)
        self._wake()
        return True

    def _finalise(self, view: NodeView, now: float) -> None:
        limit = view.height - self.finality_depth
        for height in range(max(view.final_height + 1, next(iter(view.chain))), limit + 1):
            if hash := view.chain.get(height):
                view.final[height] = hash
                view.final_height = height
                if conflict := self.finality.add(view.name, height, hash, now):
                    self._conflict(conflict)
        keep_above(limit - self.window, view.final)

    def _revert(self, view: NodeView, height: int, hash: str, now: float) -> None:
        """What was final there, and above, is not so any more."""
        blocks = {view.final[height]: (view.name,), hash: (view.name,)}
        for gone in [known for known in view.final if known >= height]:
            del view.final[gone]
        view.final_height = height - 1
        self._conflict(Conflict(height, blocks, now, reverted_by=view.name))

    def _conflict(self, conflict: Conflict) -> None:
        self.conflict_count += 1
        if len(self.conflicts) < CONFLICTS_KEPT:
            self.conflicts.append(conflict)
        self._on_conflict.tell(conflict)

    def _connection(self, view: NodeView, connected: bool, error: str) -> None:
        if not connected:
            self._blind.lost(view.name)
        changed = view.connected != connected or (not connected and not view.error)
        view.connected, view.error = connected, error
        if changed:
            self._on_connection.tell(view.name, connected, error)
            self._wake()

    def _wake(self) -> None:
        for waiter in tuple(self._waiting):
            waiter.ask()

    def _defect(self, who: str, error: Exception) -> None:
        self._note_defect(who, error)
        self._on_defect.tell(who, error)

    def _note_defect(self, who: str, error: Exception) -> None:
        self.defects.append((who, error))

    async def _expire(self, seconds: float, scope: anyio.CancelScope) -> None:
        await self._clock.sleep(seconds)
        scope.cancel()


async def _close(closable: BlockSource | AsyncGenerator[object]) -> None:
    """Close what belongs to a node's client. Raises _Lost where it does not let itself be closed."""
    with anyio.move_on_after(CLOSE_TIMEOUT, shield=True), _guard():
        await closable.aclose()


@contextmanager
def _guard() -> Iterator[None]:
    """Around each call into a node's source: whatever goes wrong in it is a lost connection. What a node sends may
    break its client in any way, and the other nodes must be followed on; the reason ends up in the node's view."""
    try:
        yield
    except Unreachable as error:
        raise _Lost(str(error) or "unreachable") from error
    except StopAsyncIteration as error:
        raise _Lost("its stream of blocks ended") from error
    except Exception as error:
        raise _Lost(f"{type(error).__name__}: {error}") from error
