"""The workload `transactions`."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
from pydantic import Field

from harness.api import Capability, Context, DefaultExpectation, Network, PlanView, UsageError, Workload
from harness_traffic.by_clients import ClientTraffic
from harness_traffic.clients import ClientPool
from harness_traffic.openloop import confess, moments
from harness_traffic.schedule import ScheduleConfig, whole
from harness_traffic.thin import ThinTraffic
from harness_traffic.wallets import chosen, claim, too_few, wanted


class TransactionsConfig(ScheduleConfig):
    """Options of `transactions`."""

    users: int | None = Field(None, ge=1, description="how many of the wallets take part; all by default")
    first_wallet: int = Field(0, ge=0, description="the first wallet to use; two such workloads must share none")
    nodes: str = Field("all", description="pattern of the nodes to send to")
    batch: int = Field(
        1,
        ge=1,
        description="so many that are due at once go to a node in one request, where the chain has such requests",
    )


class Transactions(Workload[TransactionsConfig]):
    """Offers transactions at a rate and follows each one into a block.

    Open loop: the moments of sending are fixed in advance, by the rate, its stages and the seed, and slow answers do
    not delay them. Where the chain says how its nodes take transactions over HTTP, processes of their own send what
    was made and signed before; else the chain's clients do.
    Users take turns; each sends to a node of its own, and to the next one when that does not answer. A user
    whose last transaction has an unknown fate waits until a node has told its nonce, and another takes its turn.
    What cannot be sent, because all users wait or too much is in flight, is dropped and counted. Latencies run
    from the intended moment. The generator records its own lateness and says when it could not keep up."""

    name = "transactions"
    sends = True
    Config = TransactionsConfig
    _thin: ThinTraffic | None = None

    def requires(self) -> frozenset[Capability]:
        return frozenset({Capability.TRANSACTIONS})

    def expectations(self) -> Sequence[DefaultExpectation]:
        return (DefaultExpectation("transaction-inclusion"),)

    def check(self, ctx: PlanView) -> Sequence[str]:
        config = self.config
        wrong = config.problems(ctx) or too_few(ctx, config.users, config.first_wallet)
        return wrong or ctx.unmatched("nodes", config.nodes)

    def wallets(self, ctx: PlanView) -> range:
        return wanted(ctx, self.config.users, self.config.first_wallet)

    def describe(self, ctx: PlanView) -> str:
        users = self.config.users or ctx.wallets - self.config.first_wallet
        total = round(self.config.profile(ctx.block_interval, ctx.duration).amount)
        return f"{self.config.told(ctx)} by {users} users, {total} transactions in all"

    def by_clients(self, network: Network) -> bool:
        return network.submission_format() is None

    async def prepare(self, ctx: Context) -> None:
        """Claim the wallets, and start what sends. Raises UsageError where another workload of this network sends from
        some of them."""
        config = self.config
        users = chosen(ctx, config.users, config.first_wallet)
        claim(ctx, users)
        if format := ctx.network.submission_format():
            batching = format.batching
            if config.batch > 1 and (batching is None or config.batch > batching.most):
                most = f"at most {batching.most} transactions" if batching else "one transaction"
                raise UsageError(f"batch = {config.batch}: nodes of this chain take {most} in a request")
            self._thin = ThinTraffic(ctx, config, ctx.select(config.nodes), users, format, config.batch)
            await self._thin.prepare()

    async def run(self, ctx: Context) -> None:
        tracker = ctx.tracker(ctx.component)
        if self.config.warm_up:
            tracker.timings.counts_from = ctx.window.start + self.config.warm_up
        if self._thin is not None:
            await self._thin.run()
        else:
            await self._by_clients(ctx)
        confess(ctx, tracker)

    async def _by_clients(self, ctx: Context) -> None:
        config, tracker = self.config, ctx.tracker(ctx.component)
        users, nodes = chosen(ctx, config.users, config.first_wallet), ctx.select(config.nodes)
        profile, rng = whole(ctx, config), ctx.rng("arrivals")
        async with ClientPool() as pool, anyio.create_task_group() as background:
            async with anyio.create_task_group() as sending:
                traffic = ClientTraffic(ctx, config, nodes, pool, sending, background, users)
                async for moment in moments(ctx, profile, tracker, config.arrivals, rng):
                    traffic.offer(moment)
            background.cancel_scope.cancel()
