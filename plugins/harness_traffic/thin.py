"""Transactions by processes of their own: prepared ahead of the moments at which they are sent, and accounted for when
it is known what became of them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import anyio
from anyio.abc import TaskGroup

from harness.api import (
    Context,
    Fate,
    Job,
    Node,
    Outcome,
    Receipt,
    Result,
    SenderAccount,
    Senders,
    Shot,
    SubmissionFormat,
    Target,
    Ticket,
    Told,
    Transaction,
    request_head,
)
from harness_traffic.clients import ClientPool
from harness_traffic.fates import enter, miss
from harness_traffic.schedule import ScheduleConfig
from harness_traffic.sending import FOR_EVER, Sending
from harness_traffic.wallets import resync

LEAST_AHEAD, MOST_AHEAD = 64, 8192
AHEAD = 3.0
"""Seconds of load that are prepared before they are due."""
MOST_OF_ONE = 256
"""Transactions of one user that are prepared at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A transaction that is made and not known to have been sent."""

    serial: int
    transaction: Transaction
    ticket: Ticket
    epoch: int


class ThinTraffic:
    """One workload's. Users take turns; of each, one transaction is under way at a time. `prepare`, then `run`."""

    def __init__(
        self,
        ctx: Context,
        config: ScheduleConfig,
        nodes: Sequence[Node],
        users: Sequence[int],
        format: SubmissionFormat,
        batch: int = 1,
    ) -> None:
        self._ctx = ctx
        self._config = config
        self._nodes = nodes
        self._users = users
        self._format = format
        self._batch = batch
        self._tracker = ctx.tracker(ctx.component)
        self._factory = ctx.network.transactions(ctx.rng("transactions"))
        self._prepared: dict[int, Prepared] = {}
        self._of_user: dict[int, deque[Prepared]] = {}
        self._epochs: dict[int, int] = {}
        self._blocked: set[int] = set()
        self._turn = 0
        self._serial = 0
        self._room = anyio.Event()
        self._pool = ClientPool()
        self._asking: TaskGroup | None = None
        self._senders: Senders | None = None
        self._account: SenderAccount | None = None
        self._ahead = LEAST_AHEAD
        self._by_sender: Counter[int] = Counter()  # how many of each are prepared: lanes are not shared out evenly

    async def prepare(self) -> None:
        """Start the processes, open their connections, and make what is to be sent first."""
        config = self._config
        peak = config.profile(self._ctx.block_interval, FOR_EVER).peak
        # What is in flight is prepared, too: a slow network must not keep what comes after from being made.
        self._ahead = int(min(MOST_AHEAD, max(LEAST_AHEAD, AHEAD * peak))) + config.max_in_flight
        batching = self._format.batching
        targets = tuple(self._target(node) for node in self._nodes)
        job = Job(
            targets,
            self._format.taken,
            config.submit_timeout,
            config.max_in_flight,
            ordered=True,
            each=True,
            resend=True,
            batching=replace(batching, most=self._batch) if batching and self._batch > 1 else None,
        )
        self._senders = await self._ctx.keep(self._ctx.senders(job, peak, config.senders, len(self._users)))
        self._account = self._tracker.sent_by(self._senders.machines)
        await self._senders.feed(self._fill())

    async def run(self) -> None:
        """Send until the deadline, and wait for the last answers."""
        assert self._senders is not None
        sending = Sending(self._ctx, self._config, self._nodes)
        async with self._pool:
            await sending.run(self._senders, self._tracker, self, self._keep_ahead, begun=self._begun)
        # Not where it is broken off: of what a sender had that died, nobody knows if it was sent, and a block may tell.
        for prepared in self._prepared.values():
            self._tracker.withdraw(prepared.ticket)

    def _begun(self, tasks: TaskGroup | None) -> None:
        self._asking = tasks

    # What is to be sent

    def _fill(self) -> list[Shot]:
        return list(self._more())

    def _more(self) -> Iterator[Shot]:
        """As many as there is room for at each sender, users in turn."""
        assert self._senders is not None
        senders = len(self._senders)
        passed = 0
        while passed < len(self._users):
            user = self._users[self._turn % len(self._users)]
            self._turn += 1
            mine = self._of_user.setdefault(user, deque())
            full = senders * self._by_sender[user % senders] >= self._ahead
            if full or user in self._blocked or len(mine) >= MOST_OF_ONE:
                passed += 1
                continue
            passed = 0
            self._by_sender[user % senders] += 1
            self._serial += 1
            transaction = self._factory.make(user)
            ticket = self._tracker.prepare(transaction.id, transaction.effects)
            prepared = Prepared(self._serial, transaction, ticket, self._epochs.get(user, 0))
            self._prepared[prepared.serial] = prepared
            mine.append(prepared)
            yield Shot(prepared.serial, user, prepared.epoch, self._format.body(transaction, prepared.serial))

    async def _keep_ahead(self) -> None:
        assert self._senders is not None
        while True:
            await self._room.wait()
            self._room = anyio.Event()
            if shots := self._fill():
                await self._senders.feed(shots)

    # What became of it

    def heard(self, sender: int, results: Sequence[Result]) -> None:
        for result in results:
            prepared = self._prepared.pop(result.serial, None)
            if prepared is None:
                continue
            self._by_sender[sender] -= 1
            self._of_user[prepared.transaction.sender].remove(prepared)
            self._enter(prepared, result)
        self._room.set()

    def _enter(self, prepared: Prepared, result: Result) -> None:
        """Enter it into the account; whoever's transaction was not taken waits until a node has told the next nonce."""
        transaction, node = prepared.transaction, self._nodes[result.target].name
        receipt = enter(self._tracker, prepared.ticket, result, node, partial(self._read, transaction))
        if result.fate is Fate.CUT_OFF or (receipt is not None and receipt.accepted):
            return
        if receipt is not None:
            self._factory.release(transaction)
        unknown = transaction if prepared.ticket.outcome is Outcome.TIMED_OUT else None
        self._block(transaction.sender, avoid="" if receipt is not None else node, unknown=unknown)

    def _read(self, transaction: Transaction, result: Result) -> Receipt:
        if result.fate is Fate.TAKEN:
            return Receipt(True, transaction.id)
        return self._format.read(transaction, result.status, result.reply)

    def _block(self, user: int, avoid: str, unknown: Transaction | None) -> None:
        """What was prepared of this user is void; more is made once its nonce is known."""
        assert self._senders is not None
        behind = self._of_user.pop(user, deque())
        while behind:
            void = behind.pop()
            del self._prepared[void.serial]
            self._by_sender[user % len(self._senders)] -= 1
            self._tracker.withdraw(void.ticket)
            self._factory.release(void.transaction)
        self._blocked.add(user)
        self._epochs[user] = self._epochs.get(user, 0) + 1
        if self._asking is not None:
            self._asking.start_soon(self._unblock, user, avoid, unknown)

    def told(self, sender: int, told: Told) -> None:
        assert self._account is not None
        self._account.told(sender, told)
        miss(self._tracker, told.tally, self._config.max_in_flight)
        self._room.set()

    # Beside it

    async def _unblock(self, user: int, avoid: str, unknown: Transaction | None) -> None:
        """The user goes on once a node has told its nonce."""
        await resync(self._ctx, self._pool, self._nodes, self._factory, user, avoid, unknown)
        self._blocked.discard(user)
        self._room.set()

    def _target(self, node: Node) -> Target:
        at, format = self._ctx.sent_to(node), self._format
        return Target(node.name, at.host, at.port, request_head(format.method, format.path, str(at), format.headers))
