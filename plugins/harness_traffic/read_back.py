"""Blobs that are in a block, read back from the network and compared with what was sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import anyio
from anyio.abc import TaskGroup

from harness.api import Block, Context, Node, Ticket, Tracker, Unreachable
from harness_traffic.clients import ClientPool, in_turn

VERIFIED, CORRUPT, UNAVAILABLE = "verified", "corrupt", "unavailable"
READ_AGAIN = 0.5
"""Seconds after which a blob that no node could reconstruct is asked for again."""
ATTEMPTS = 3
"""A blob is asked for so often at least before it counts as unavailable, even if nodes hang."""


@dataclass(frozen=True, slots=True)
class _Sent:
    ticket: Ticket
    digest: bytes  # instead of the content: a network that includes nothing must not fill our memory


class Reader:
    """Reads each blob back once it is in a block."""

    def __init__(
        self,
        ctx: Context,
        read_timeout: float,
        pool: ClientPool,
        nodes: Sequence[Node],
        tracker: Tracker,
        tasks: TaskGroup,
    ) -> None:
        self._ctx = ctx
        self._read_timeout = read_timeout
        self._pool = pool
        self._nodes = nodes
        self._tracker = tracker
        self._tasks = tasks
        self._expected: dict[str, _Sent] = {}  # accepted, not yet seen in a block
        self._reading = 0
        self._turn = 0
        self._idle = anyio.Event()

    def expect(self, ticket: Ticket, digest: bytes) -> None:
        """A node took this blob, whose SHA-256 this is. It may be in a block already."""
        sent = _Sent(ticket, digest)
        if ticket.included_at is not None:
            self._start(sent)
        else:
            self._expected[ticket.id] = sent

    def saw(self, block: Block, node: str, at: float) -> None:
        """A block came."""
        for id in block.tx_ids:
            if sent := self._expected.pop(id, None):
                self._start(sent)

    async def all_read(self) -> None:
        """Wait until every blob taken so far was in a block and was read."""
        while self._expected or self._reading:
            self._idle = anyio.Event()
            await self._idle.wait()

    def _start(self, sent: _Sent) -> None:
        self._reading += 1
        self._turn += 1
        self._tasks.start_soon(self._read, sent, self._turn)

    async def _read(self, sent: _Sent, turn: int) -> None:
        found = UNAVAILABLE
        with anyio.move_on_after(self._read_timeout):
            found = await self._compare(sent, turn)
        self._tracker.mark(found)
        if found != VERIFIED:
            self._ctx.warn(f"blob {sent.ticket.id[:16]} of height {sent.ticket.height}: {found}", id=sent.ticket.id)
        self._reading -= 1
        if not self._reading and not self._expected:
            self._idle.set()

    async def _compare(self, sent: _Sent, turn: int) -> str:
        one_attempt = self._read_timeout / ATTEMPTS  # so that a node that hangs leaves time for another
        while True:
            for node in in_turn(self._ctx, self._nodes, turn, avoid=sent.ticket.node):
                with anyio.move_on_after(one_attempt):
                    try:
                        async with self._pool.client(node) as client:
                            content = await client.retrieve(sent.ticket.id)
                    except (Unreachable, LookupError):
                        continue
                    return VERIFIED if sha256(content).digest() == sent.digest else CORRUPT
            await self._ctx.clock.sleep(READ_AGAIN)
