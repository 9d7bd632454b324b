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
    Unreachable,
    Unsupported,
    UsageError,
    Workload,
)
from harness_traffic.clients import ClientPool, in_turn, submit
from harness_traffic.openloop import confess, moments

ASK_AGAIN = 0.5
"""Seconds after which nodes are asked once more for the nonce of a wallet whose transaction has an unknown fate."""


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
        first, users = config.first_wallet, config.users
        if ctx.wallets == 0:
            return ("there are no wallets to send from; give [wallets] a count",)
        if first + (users or 1) > ctx.wallets:
            wanted = f"users = {users}" + (f" from wallet {first} on" if first else "")
            return (f"{wanted if users else f'first_wallet = {first}'}, but there are {ctx.wallets} wallets",)
        return ctx.unmatched("nodes", config.nodes)

    def describe(self, ctx: PlanView) -> str:
        per_second = self.config.rate.per_second(ctx.block_interval)
        users = self.config.users or ctx.wallets - self.config.first_wallet
        total = round(per_second * ctx.duration)
        return f"{self.config.rate} = {per_second:.3g}/s by {users} users, {total} transactions in all"

    async def prepare(self, ctx: Context) -> None:
        """Claim the wallets. Raises UsageError where another workload of this network sends from some of them."""
        senders, wanted = ctx.network.senders, _users(self.config, ctx)
        others = {senders[user] for user in wanted if senders.get(user, ctx.component) != ctx.component}
        if others:
            raise UsageError(
                f"wallets {wanted[0]} to {wanted[-1]} would be used by {', '.join(sorted(others))} as well, and each "
                f"would spoil the other's nonces: give both wallets of their own with users and first_wallet"
            )
        senders.update(dict.fromkeys(wanted, ctx.component))

    async def run(self, ctx: Context) -> None:
        nodes = ctx.select(self.config.nodes)
        async with ClientPool() as pool, anyio.create_task_group() as background:
            async with anyio.create_task_group() as sending:
                sender = _Sender(ctx, self.config, nodes, pool, sending, background)
                async for moment in moments(ctx, self.config.rate, ctx.tracker(ctx.component)):
                    sender.offer(moment)
            background.cancel_scope.cancel()
        confess(ctx, ctx.tracker(ctx.component))


def _users(config: TransactionsConfig, ctx: Context) -> range:
    """The wallets that take part."""
    count = config.users or len(ctx.network.wallets) - config.first_wallet
    return range(config.first_wallet, config.first_wallet + count)


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
        self._users = _users(config, ctx)
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
        """Free the user again once a node has told its next nonce; at once where the chain has no nonces."""
        address = self._ctx.network.wallets[user].address
        while True:
            for node in in_turn(self._ctx, self._nodes, user, avoid):
                try:
                    async with self._pool.client(node) as client:
                        nonce = await client.nonce(address)
                except Unreachable:
                    continue
                except Unsupported:
                    self._busy.discard(user)
                    return
                self._factory.resync(user, nonce)
                self._busy.discard(user)
                return
            await self._ctx.clock.sleep(ASK_AGAIN)
