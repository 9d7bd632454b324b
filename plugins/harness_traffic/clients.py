"""A workload's own connections: as many to a node as are in use at once, used again and again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType

import anyio

from harness.api import ChainClient, Context, Node, Receipt, Ticket, Tracker, Unreachable

CLOSE_TIMEOUT = 1.0


class ClientPool:
    """Clients by node. How many there are at most is up to the user's own bound on what is in flight."""

    def __init__(self) -> None:
        self._idle: dict[str, list[ChainClient]] = {}

    @asynccontextmanager
    async def client(self, node: Node) -> AsyncIterator[ChainClient]:
        """A client that nobody else uses meanwhile. After an error or a cancellation its connection is in an unknown
        state: it is closed instead of being used again."""
        idle = self._idle.setdefault(node.name, [])
        client = idle.pop() if idle else node.new_client()
        try:
            yield client
        except BaseException:
            await _close(client)
            raise
        idle.append(client)

    async def __aenter__(self) -> ClientPool:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for clients in self._idle.values():
            while clients:
                await _close(clients.pop())


async def _close(client: ChainClient) -> None:
    with anyio.move_on_after(CLOSE_TIMEOUT, shield=True):
        await client.aclose()


def in_turn(ctx: Context, nodes: Sequence[Node], turn: int, avoid: str = "") -> list[Node]:
    """The nodes in the order in which to try them: from number `turn` on, those that answer the block feed first, and
    among these the one to avoid last."""
    start = turn % len(nodes)
    turned = [*nodes[start:], *nodes[:start]]
    views = ctx.feed.nodes

    def rank(node: Node) -> tuple[bool, bool]:
        view = views.get(node.name)
        return view is None or not view.connected, node.name == avoid

    return sorted(turned, key=rank)  # stable: the turn decides among equals


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a submission: `receipt` of the first node that answered, which is `node`, or None.

    `error` says why nodes tried before it did not answer, "" where the first one did."""

    receipt: Receipt | None
    node: str
    error: str
    timed_out: bool

    @property
    def accepted(self) -> bool:
        return self.receipt is not None and self.receipt.accepted

    @property
    def refused(self) -> bool:
        """It certainly did not get in. After a node that did not answer, a "no" of the next one proves nothing: the
        first may have got it all the same, and the second may mean that it has it already."""
        return self.receipt is not None and not self.receipt.accepted and not self.error

    def record(self, tracker: Tracker, ticket: Ticket) -> None:
        """Enter it into the account."""
        if self.receipt is not None and self.receipt.accepted:
            tracker.accepted(ticket, self.receipt.id, self.node)
        elif self.receipt is not None and self.refused:
            tracker.rejected(ticket, self.receipt.reason, self.node)
        elif self.receipt is not None or self.timed_out:
            tracker.timed_out(ticket, self.node)
        else:
            tracker.failed(ticket, self.error)


async def submit(
    ctx: Context,
    pool: ClientPool,
    nodes: Sequence[Node],
    turn: int,
    timeout: float,
    request: Callable[[ChainClient], Awaitable[Receipt]],
) -> Answer:
    """Ask the node whose turn it is, and the next ones as long as none answers, for `timeout` seconds in all."""
    node = error = ""
    # A deadline of the event loop, not of the clock: on the load path, one more task for each would be felt.
    with anyio.move_on_after(timeout) as scope:
        for target in in_turn(ctx, nodes, turn):
            node = target.name
            try:
                async with pool.client(target) as client:
                    return Answer(await request(client), node, error, False)
            except Unreachable as unreachable:
                error = str(unreachable) or f"{node} is unreachable"
    return Answer(None, node, error, scope.cancelled_caught)
