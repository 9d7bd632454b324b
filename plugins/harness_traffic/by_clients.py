"""Transactions through the chain's own clients, in this process: for chains that say no other way."""

from __future__ import annotations

from collections.abc import Sequence

from anyio.abc import TaskGroup

from harness.api import Context, Node, Outcome, Ticket, Transaction
from harness_traffic.clients import ClientPool, submit
from harness_traffic.schedule import ScheduleConfig
from harness_traffic.wallets import resync


class ClientTraffic:
    """The users, their nonces, and what is in flight."""

    def __init__(
        self,
        ctx: Context,
        config: ScheduleConfig,
        nodes: Sequence[Node],
        pool: ClientPool,
        sending: TaskGroup,
        background: TaskGroup,
        users: Sequence[int],
    ) -> None:
        self._ctx = ctx
        self._config = config
        self._pool = pool
        self._sending = sending
        self._background = background
        self._tracker = ctx.tracker(ctx.component)
        self._factory = ctx.network.transactions(ctx.rng("transactions"))
        self._nodes = nodes
        self._users = users
        self._busy: set[int] = set()
        self._turn = 0
        self._in_flight = 0

    def offer(self, moment: float) -> None:
        """It is time for the next transaction: send it, or drop it. Never waits."""
        if self._in_flight >= self._config.max_in_flight:
            self._tracker.dropped(self._tracker.offer(moment), f"{self._in_flight} were in flight")
            return
        user = self._next_user()
        if user is None:
            self._tracker.dropped(self._tracker.offer(moment), "no user was free")
            return
        transaction = self._factory.make(user)
        ticket = self._tracker.offer(moment, transaction.id, transaction.effects)
        self._busy.add(user)
        self._in_flight += 1
        self._sending.start_soon(self._send, ticket, transaction)

    def _next_user(self) -> int | None:
        for step in range(len(self._users)):
            turn = (self._turn + step) % len(self._users)
            if self._users[turn] not in self._busy:
                self._turn = turn + 1
                return self._users[turn]
        return None

    async def _send(self, ticket: Ticket, transaction: Transaction) -> None:
        user, timeout = transaction.sender, self._config.submit_timeout
        answer = await submit(
            self._ctx, self._pool, self._nodes, user, timeout, lambda client: client.submit(transaction)
        )
        self._in_flight -= 1
        answer.record(self._tracker, ticket)
        if answer.accepted:
            self._busy.discard(user)
            return
        if answer.refused:
            self._factory.release(transaction)
        unknown = transaction if ticket.outcome is Outcome.TIMED_OUT else None
        self._background.start_soon(self._resync, user, "" if answer.refused else answer.node, unknown)

    async def _resync(self, user: int, avoid: str, unknown: Transaction | None) -> None:
        """Free the user again once a node has told its next nonce."""
        await resync(self._ctx, self._pool, self._nodes, self._factory, user, avoid, unknown)
        self._busy.discard(user)
