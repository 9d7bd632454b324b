"""Channel operations or blobs by processes of their own: made ahead of the moments at which they are sent, and
accounted for when it is known what became of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import sha256

import anyio

from harness.api import (
    NO_LANE,
    Context,
    DataFormat,
    Job,
    Node,
    Receipt,
    Result,
    SenderAccount,
    Senders,
    Shot,
    Target,
    Ticket,
    Told,
    Tracker,
    request_head,
)
from harness_traffic.fates import enter, miss
from harness_traffic.schedule import ScheduleConfig
from harness_traffic.sending import FOR_EVER, Sending

AHEAD = 3.0
"""Seconds of load that are prepared before they are due."""
LEAST_AHEAD, MOST_AHEAD = 16, 8192
MOST_BYTES = 64 << 20
"""Of data that are prepared, or in flight."""

AT_ONCE = 4 << 20
"""Of these that are handed over in one piece."""

OnAccepted = Callable[[Ticket, bytes], None]
"""Told of what a node took, and the SHA-256 of its data."""


class ThinData:
    """One kind of them. `path` is where nodes take it, `size` its bytes, all random. `prepare`, then `run`."""

    def __init__(
        self,
        ctx: Context,
        config: ScheduleConfig,
        nodes: Sequence[Node],
        tracker: Tracker,
        format: DataFormat,
        path: str,
        channels: Sequence[str],
        size: int,
        then: OnAccepted | None = None,
    ) -> None:
        self._ctx = ctx
        self._config = config
        self._nodes = nodes
        self._tracker = tracker
        self._format = format
        self._path = path
        self._channels = channels
        self._size = size
        self._then = then
        self._rng = ctx.rng(tracker.name)
        self._prepared: dict[int, tuple[Ticket, bytes]] = {}
        self._by_sender: Counter[int] = Counter()
        self._serials: list[int] = []  # of each sender the next one: those that it is number n modulo theirs
        self._ahead, self._most = LEAST_AHEAD, config.max_in_flight
        self._room = anyio.Event()
        self._senders: Senders | None = None
        self._account: SenderAccount | None = None

    async def prepare(self) -> None:
        """Start the processes, open their connections, and make what is to be sent first."""
        config, ctx = self._config, self._ctx
        peak = config.profile(ctx.block_interval, FOR_EVER).peak
        wanted = int(min(MOST_AHEAD, max(LEAST_AHEAD, AHEAD * peak))) + config.max_in_flight
        self._ahead = max(1, min(wanted, MOST_BYTES // self._size))
        self._most = min(config.max_in_flight, self._ahead)
        job = Job(
            tuple(self._target(node) for node in self._nodes),
            self._format.taken,
            config.submit_timeout,
            self._most,
            each=True,
            replies=True,
            resend=True,
        )
        self._senders = await ctx.keep(ctx.senders(job, peak, config.senders))
        self._account = self._tracker.sent_by(self._senders.machines)
        self._serials = list(range(len(self._senders)))
        await self._fill()

    async def run(self) -> None:
        """Send until the deadline, and wait for the last answers."""
        assert self._senders is not None
        sending = Sending(self._ctx, self._config, self._nodes)
        await sending.run(self._senders, self._tracker, self, self._keep_ahead)

    async def _fill(self) -> None:
        """As many as there is room for at each sender."""
        assert self._senders is not None
        senders = len(self._senders)
        for sender in range(senders):
            while senders * self._by_sender[sender] < self._ahead:
                shots = [self._make(sender)]
                while senders * self._by_sender[sender] < self._ahead and len(shots) * self._size < AT_ONCE:
                    shots.append(self._make(sender))
                await self._senders.feed(shots)

    def _make(self, sender: int) -> Shot:
        """The next one of a sender."""
        serial = self._serials[sender]
        self._serials[sender] += len(self._serials)
        self._by_sender[sender] += 1
        data = self._rng.randbytes(self._size)
        self._prepared[serial] = self._tracker.prepare(), sha256(data).digest()
        return Shot(serial, NO_LANE, 0, self._format.body(self._channels[serial % len(self._channels)], data, serial))

    async def _keep_ahead(self) -> None:
        while True:
            await self._room.wait()
            self._room = anyio.Event()
            await self._fill()

    def heard(self, sender: int, results: Sequence[Result]) -> None:
        for result in results:
            prepared = self._prepared.pop(result.serial, None)
            if prepared is None:
                continue
            self._by_sender[sender] -= 1
            ticket, digest = prepared
            node = self._nodes[result.target].name
            receipt = enter(self._tracker, ticket, result, node, self._read)
            if receipt is not None and receipt.accepted and self._then is not None:
                self._then(ticket, digest)
        self._room.set()

    def told(self, sender: int, told: Told) -> None:
        assert self._account is not None
        self._account.told(sender, told)
        miss(self._tracker, told.tally, self._most)
        self._room.set()

    def _read(self, result: Result) -> Receipt:
        return self._format.read(result.status, result.reply)

    def _target(self, node: Node) -> Target:
        at, format = self._ctx.sent_to(node), self._format
        return Target(node.name, at.host, at.port, request_head(format.method, self._path, str(at), format.headers))
