"""The workload `transactions`."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
from anyio.abc import TaskGroup
from pydantic import Field

from harness.api import (
    Capability,
    Config,
    Context,
    DefaultExpectation,
    Duration,
    Node,
    PlanView,
    Rate,
    Ticket,
    Transaction,
    Workload,
)
from harness_traffic.clients import ClientPool, submit
from harness_traffic.openloop import confess, moments
from harness_traffic.wallets import chosen, claim, resync, too_few


class TransactionsConfig(Config):
    """Options of `transactions`."""

    rate: Rate = Field(Rate(10.0), description="how many to offer: per block, or per second")
    users: int | None = Field(None, ge=1, description="how many of the wallets take part; all by default")
    first_wallet: int = Field(0, ge=0, description="the first wallet to use; two such workloads must share none")
    nodes: str = Field("all", description="pattern of the nodes to send to")
    submit_timeout: Duration = Field(5.0, gt=0, description="how long to wait for an answer, all attempts together")
    max_in_flight: int = Field(256, ge=1, description="what would be more at once is dropped, and counted")


class Transactions(Workload[TransactionsConfig]):
    """Offers transactions at a fixed rate and follows each one into a block.

    Open loop: the moments of sending are fixed in advance, evenly spaced, and slow answers do not delay them.
    Users take turns; each sends to a node of its own, and to the next one when that does not answer. A user
    whose last transaction has an unknown fate waits until a node has told its nonce, and another takes its turn.
    What cannot be sent, because all users wait or too much is in flight, is dropped and counted. Latencies run
    from the intended moment. The generator records its own lateness and says when it could not keep up."""

    name = "transactions"
    Config = TransactionsConfig

    def requires(self) -> frozenset[Capability]:
        return frozenset({Capability.TRANSACTIONS})

    def expectations(self) -> Sequence[DefaultExpectation]:
        return (DefaultExpectation("transaction-inclusion"),)

    def check(self, ctx: PlanView) -> Sequence[str]:
        config = self.config
        if config.rate.value <= 0:
            return (f"rate = {config.rate}: nothing would be sent",)
        return too_few(ctx, config.users, config.first_wallet) or ctx.unmatched("nodes", config.nodes)

    def describe(self, ctx: PlanView) -> str:
        per_second = self.config.rate.per_second(ctx.block_interval)
        users = self.config.users or ctx.wallets - self.config.first_wallet
        total = round(per_second * ctx.duration)
        return f"{self.config.rate} = {per_second:.3g}/s by {users} users, {total} transactions in all"

    async def prepare(self, ctx: Context) -> None:
        """Claim the wallets. Raises UsageError where another workload of this network sends from some of them."""
        claim(ctx, chosen(ctx, self.config.users, self.config.first_wallet))

    async def run(self, ctx: Context) -> None:
        nodes = ctx.select(self.config.nodes)
        async with ClientPool() as pool, anyio.create_task_group() as background:
            async with anyio.create_task_group() as sending:
                sender = _Sender(ctx, self.config, nodes, pool, sending, background)
                async for moment in moments(ctx, self.config.rate, ctx.tracker(ctx.component)):
                    sender.offer(moment)
            background.cancel_scope.cancel()
        confess(ctx, ctx.tracker(ctx.component))


class _Sender:
    """The users, their nonces, and what is in flight."""

    def __init__(
        self,
        ctx: Context,
        config: TransactionsConfig,
        nodes: Sequence[Node],
        pool: ClientPool,
        sending: TaskGroup,
        background: TaskGroup,
    ) -> None:
        self._ctx = ctx
        self._config = config
        self._pool = pool
        self._sending = sending
        self._background = background
        self._tracker = ctx.tracker(ctx.component)
        self._factory = ctx.network.transactions(ctx.rng("transactions"))
        self._nodes = nodes
        self._users = chosen(ctx, config.users, config.first_wallet)
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
        self._background.start_soon(self._resync, user, "" if answer.refused else answer.node)

    async def _resync(self, user: int, avoid: str) -> None:
        """Free the user again once a node has told its next nonce."""
        await resync(self._ctx, self._pool, self._nodes, self._factory, user, avoid)
        self._busy.discard(user)
