"""The workload `transactions.invalid`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Annotated

import anyio
from anyio.abc import TaskGroup
from pydantic import AfterValidator, Field

from harness.api import (
    BrokenAnswer,
    Capability,
    Config,
    Context,
    DefaultExpectation,
    Duration,
    LocalPath,
    Node,
    NodeState,
    NodeView,
    PlanView,
    Rate,
    Receipt,
    Ticket,
    Transaction,
    Unreachable,
    Workload,
)
from harness_traffic.clients import ClientPool, in_turn
from harness_traffic.findings import Input, Keeper, read
from harness_traffic.openloop import confess, moments
from harness_traffic.wallets import chosen, claim, resync, too_few, wanted

REPLAY, DUPLICATE = "replay", "duplicate-in-batch"
ATTEMPTS = 2
"""An input that gets no answer is sent once more: only one that never gets any is laid to its charge."""
SETTLED_KEPT = 100
"""Final transactions to draw replays from."""


def _readable(path: LocalPath) -> LocalPath:
    read(path)
    return path


class InvalidConfig(Config):
    """Options of `transactions.invalid`."""

    rate: Rate = Field(Rate(5.0), description="how many to offer: per block, or per second")
    mix: dict[str, Annotated[float, Field(gt=0)]] = Field(
        {},
        description="weights by kind, as { bad-signature = 2, replay = 1 }; by default all kinds of the chain, alike",
    )
    users: int | None = Field(None, ge=1, description="how many of the wallets take part; all by default")
    first_wallet: int = Field(0, ge=0, description="the first wallet to use; two such workloads must share none")
    nodes: str = Field("all", description="pattern of the nodes to send to")
    answer_timeout: Duration = Field(5.0, gt=0, description="how long a node may take to answer")
    max_in_flight: int = Field(64, ge=1, description="what would be more at once is dropped, and counted")
    replay: Annotated[LocalPath, AfterValidator(_readable)] | None = Field(
        None, description="send these instead: a file of an earlier run's folder `invalid`, or that folder"
    )


class InvalidTransactions(Workload[InvalidConfig]):
    """Offers, at a fixed rate, transactions that every node must refuse, and notes what each node does with them.

    Kinds: bad-signature, insufficient-funds, wrong-nonce, replay, malformed, truncated, oversized, wrong-chain,
    duplicate-in-batch, unknown-fields, random (bytes) and mutated (valid ones), as far as the chain can make them.
    replay sends a final transaction of its own again; duplicate-in-batch sends a valid one to one node twice at once.
    It sends from wallets of its own: give a workload that runs beside it others. All follows from the run's seed.

    An input that was accepted, got into a block, or got no or a broken answer is kept in the run's folder `invalid`,
    with what is needed to send it again: `replay` does. It is the same bytes: those that are signed for one network
    are for a wrong chain on the next, unless it is the same, adopted one."""

    name = "transactions.invalid"
    Config = InvalidConfig

    def requires(self) -> frozenset[Capability]:
        return frozenset({Capability.TRANSACTIONS})

    def expectations(self) -> Sequence[DefaultExpectation]:
        return (DefaultExpectation("rejects-invalid"), DefaultExpectation("invalid-never-included"))

    def check(self, ctx: PlanView) -> Sequence[str]:
        config = self.config
        if config.rate.value <= 0:
            return (f"rate = {config.rate}: nothing would be sent",)
        if not ctx.invalid_kinds and config.replay is None:
            return ("the chain does not say what transactions it must refuse",)
        kinds = ", ".join(sorted(ctx.invalid_kinds))
        unknown = [
            f"mix: this chain can make no {kind!r}; it makes {kinds}"
            for kind in config.mix
            if kind not in ctx.invalid_kinds
        ]
        return unknown or too_few(ctx, config.users, config.first_wallet) or ctx.unmatched("nodes", config.nodes)

    def wallets(self, ctx: PlanView) -> range:
        return wanted(ctx, self.config.users, self.config.first_wallet)

    def describe(self, ctx: PlanView) -> str:
        per_second = self.config.rate.per_second(ctx.block_interval)
        if self.config.replay is not None:
            return f"{len(read(self.config.replay))} kept inputs again, {per_second:.3g}/s"
        kinds = ", ".join(sorted(self.config.mix or ctx.invalid_kinds))
        return f"{self.config.rate} = {per_second:.3g}/s, {round(per_second * ctx.duration)} in all, of {kinds}"

    async def prepare(self, ctx: Context) -> None:
        """Claim the wallets. Raises UsageError where another workload of this network sends from some of them."""
        claim(ctx, chosen(ctx, self.config.users, self.config.first_wallet))

    async def run(self, ctx: Context) -> None:
        tracker = ctx.tracker(f"invalid:{ctx.component}")
        async with ClientPool() as pool, anyio.create_task_group() as background:
            async with anyio.create_task_group() as sending:
                sender = _Sender(ctx, self.config, pool, sending, background)
                again = iter(read(self.config.replay)) if self.config.replay is not None else None
                async for moment in moments(ctx, self.config.rate, tracker):
                    if again is None:
                        sender.offer(moment)
                    elif (input := next(again, None)) is not None:
                        sender.send(moment, input)
                    else:
                        break
            background.cancel_scope.cancel()
            if again is None:
                sender.tell_unsent()
        confess(ctx, tracker)


def _height(view: NodeView | None) -> int:
    return view.height if view is not None else -1


class _Sender:
    """Draws what to send, sends it, and enters what came of it."""

    def __init__(
        self, ctx: Context, config: InvalidConfig, pool: ClientPool, sending: TaskGroup, background: TaskGroup
    ) -> None:
        self._ctx = ctx
        self._config = config
        self._pool = pool
        self._sending = sending
        self._background = background
        self._nodes = ctx.select(config.nodes)
        self._rng = ctx.rng("mix")
        self._factory = ctx.network.transactions(ctx.rng("transactions"))
        mix = config.mix or dict.fromkeys(sorted(ctx.chain.invalid_kinds), 1.0)
        self._kinds, self._weights = list(mix), list(mix.values())
        self._tracker = ctx.tracker(f"invalid:{ctx.component}")
        self._originals = ctx.tracker(f"originals:{ctx.component}")
        self._keeper = Keeper(ctx)
        self._free = list(chosen(ctx, config.users, config.first_wallet))
        self._numbers = count(1)
        self._in_flight = 0
        self._sent: set[str] = set()
        self._waiting: list[tuple[Ticket, Transaction]] = []
        self._settled: list[tuple[int, Transaction]] = []

    # What to send

    def offer(self, moment: float) -> None:
        """It is time for the next one: draw and send it, or drop it. Never waits."""
        kind = self._rng.choices(self._kinds, self._weights)[0]
        if kind == DUPLICATE:
            self._offer_valid(moment, times=2)
        elif kind == REPLAY:
            self._look_for_settled()
            if not self._waiting:
                self._offer_valid(moment, times=1)
            if self._settled:
                height, transaction = self._rng.choice(self._settled)
                again = self._factory.invalid(kind, transaction.sender, transaction)
                self.send(moment, Input(kind, again.payload), above=height)
        else:
            self._look_for_settled()
            _, settled = self._rng.choice(self._settled) if self._settled else (0, None)
            user = settled.sender if settled else chosen(self._ctx, self._config.users, self._config.first_wallet)[0]
            made = self._factory.invalid(kind, user, settled)
            known = settled is not None and made.id == settled.id
            self.send(moment, Input(kind, made.payload, "" if known else made.id))

    def _look_for_settled(self) -> None:
        for ticket, transaction in [each for each in self._waiting if each[0].settled and each[0].outcome]:
            self._waiting.remove((ticket, transaction))
            if ticket.height is not None:
                self._settled.append((ticket.height, transaction))
        del self._settled[:-SETTLED_KEPT]

    def _offer_valid(self, moment: float, times: int) -> None:
        """A valid one, once or twice."""
        if not self._free:
            if times > 1:
                self._tracker.dropped(self._tracker.offer(moment), "no user was free")
            return
        user = self._free.pop(0)
        transaction = self._factory.make(user)
        original = self._originals.offer(moment, transaction.id, transaction.effects)
        self._waiting.append((original, transaction))
        kind = DUPLICATE if times > 1 else REPLAY
        self.send(moment, Input(kind, transaction.payload, transaction.id, times, sound=1), (original, transaction))

    # Sending

    def send(
        self, moment: float, input: Input, valid: tuple[Ticket, Transaction] | None = None, *, above: int = 0
    ) -> None:
        """Send it to the node whose turn it is, of those that have a block of this height. `valid` is the transaction
        that the input repeats, where that has not been sent yet."""
        ticket = self._tracker.offer(moment) if input.times > input.sound else None
        views, number = self._ctx.feed.nodes, next(self._numbers)
        nodes = [node for node in self._nodes if not above or _height(views.get(node.name)) >= above]
        if self._in_flight >= self._config.max_in_flight or not nodes:
            why = f"{self._in_flight} were in flight" if nodes else "no node has shown its block"
            if ticket is not None:
                self._tracker.dropped(ticket, why)
            if valid is not None:
                self._give_back(*valid, why)
            return
        self._in_flight += 1
        if ticket is not None:
            self._sent.add(input.kind)
        node = in_turn(self._ctx, nodes, number)[0]
        self._keeper.sending(number, input)
        self._sending.start_soon(self._send, number, input, node, ticket, valid)

    def _give_back(self, original: Ticket, transaction: Transaction, why: str) -> None:
        self._originals.dropped(original, why)
        self._waiting.remove((original, transaction))
        self._factory.release(transaction)
        self._free.append(transaction.sender)

    def tell_unsent(self) -> None:
        """Enter the kinds of which none was sent into the account. Those that were asked for by name are unsent; of
        others it is only said: a short drive does not come to all, and not to a replay before anything is final."""
        for kind in self._kinds:
            if kind not in self._sent:
                self._tracker.mark(f"{kind} unsent" if self._config.mix else f"{kind} left-out")

    async def _send(
        self,
        number: int,
        input: Input,
        node: Node,
        ticket: Ticket | None,
        valid: tuple[Ticket, Transaction] | None,
    ) -> None:
        answers: list[Receipt | Unreachable] = []

        async def once() -> None:
            answers.append(await self._ask(node, input))

        async with anyio.create_task_group() as tasks:
            for _ in range(input.times):
                tasks.start_soon(once)
        self._in_flight -= 1
        taken = [answer for answer in answers if isinstance(answer, Receipt) and answer.accepted]
        refused = [answer for answer in answers if isinstance(answer, Receipt) and not answer.accepted]
        failed = [answer for answer in answers if isinstance(answer, Unreachable)]
        if ticket is not None:
            self._enter(number, input, node, ticket, taken[input.sound :], refused, failed)
        if valid is not None:
            self._enter_valid(*valid, node, bool(taken), refused, failed)

    async def _ask(self, node: Node, input: Input) -> Receipt | Unreachable:
        transaction = Transaction(input.id, input.payload, -1)
        error = Unreachable(f"{node.name} gave no answer")
        for _ in range(1 if input.sound else ATTEMPTS):
            with anyio.move_on_after(self._config.answer_timeout):
                try:
                    async with self._pool.client(node) as client:
                        return await client.submit(transaction)
                except BrokenAnswer as broken:
                    return broken
                except Unreachable as unreachable:
                    error = unreachable
            if self._disturbed(node):
                break
        return error

    def _enter(
        self,
        number: int,
        input: Input,
        node: Node,
        ticket: Ticket,
        taken: Sequence[Receipt],
        refused: Sequence[Receipt],
        failed: Sequence[Unreachable],
    ) -> None:
        """What came of what had to be refused, into the account: counted by kind, and kept where it is not as it should
        be."""
        tracker, broken = self._tracker, [error for error in failed if isinstance(error, BrokenAnswer)]
        if broken:
            tracker.failed(ticket, f"{input.kind}: {broken[0]}")
            tracker.mark(f"{input.kind} broken")
            self._keeper.keep(number, input, node.name, {"broken": str(broken[0])})
        elif taken:
            tracker.accepted(ticket, node=node.name)
            tracker.mark(f"{input.kind} accepted")
            self._keeper.keep(number, input, node.name, {"accepted": True})
        elif refused:
            tracker.rejected(ticket, f"{input.kind}: {refused[0].reason}", node.name)
            tracker.mark(f"{input.kind} rejected" if refused[0].reason else f"{input.kind} unexplained")
        elif self._disturbed(node):
            tracker.failed(ticket, f"{node.name} was under a fault")
            tracker.mark(f"{input.kind} disturbed")
        else:
            tracker.failed(ticket, f"{input.kind}: {failed[0]}")
            tracker.mark(f"{input.kind} unanswered")
            self._keeper.keep(number, input, node.name, {"unanswered": str(failed[0])})

    def _enter_valid(
        self,
        original: Ticket,
        transaction: Transaction,
        node: Node,
        taken: bool,
        refused: Sequence[Receipt],
        failed: Sequence[Unreachable],
    ) -> None:
        """The same of the valid one: its sender is free again once it is known what its next nonce is."""
        if taken:
            self._originals.accepted(original, transaction.id, node.name)
            self._free.append(transaction.sender)
            return
        self._waiting.remove((original, transaction))
        if refused and not failed:
            self._originals.rejected(original, refused[0].reason, node.name)
            self._factory.release(transaction)
        else:
            self._originals.timed_out(original, node.name)
        self._background.start_soon(self._resync, transaction.sender, node.name)

    async def _resync(self, user: int, avoid: str) -> None:
        await resync(self._ctx, self._pool, self._nodes, self._factory, user, avoid)
        self._free.append(user)

    def _disturbed(self, node: Node) -> bool:
        """Whether somebody else is to blame where it does not answer."""
        under = any(healed is None for _, healed in self._ctx.faults.disturbed(node.name))
        return under or node.state not in (NodeState.RUNNING, NodeState.EXITED)
