"""The workload `da`: data availability."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

import anyio
from anyio.abc import TaskGroup
from pydantic import Field

from harness.api import (
    Block,
    Capability,
    ChainClient,
    Config,
    Context,
    DefaultExpectation,
    Duration,
    Node,
    PlanView,
    Rate,
    Receipt,
    Size,
    Span,
    Ticket,
    Tracker,
    Unreachable,
    Workload,
)
from harness_traffic.clients import ClientPool, in_turn, submit
from harness_traffic.openloop import confess, moments

CHANNEL_TRACKER, BLOB_TRACKER = "da.channel", "da.blob"
VERIFIED, CORRUPT, UNAVAILABLE = "verified", "corrupt", "unavailable"
READ_AGAIN = 0.5
"""Seconds after which a blob that no node could reconstruct is asked for again."""
ATTEMPTS = 3
"""A blob is asked for so often at least before it counts as unavailable, even if nodes hang."""
LONGEST_END = 25.0
"""Seconds that the last blobs may take after the deadline, whatever `patience` says: the engine grants 30."""


class DataAvailabilityConfig(Config):
    """Options of `da`."""

    channel_rate: Rate = Field(Rate(1.0), description="channel operations to offer: per block, or per second")
    blob_rate: Rate = Field(Rate(1.0), description="blobs to disperse: per block, or per second")
    blob_size: Size = Field(4096, ge=1, description="bytes of a blob, all random")
    channel_size: Size = Field(64, ge=16, description="bytes of a channel operation, all random")
    channels: int = Field(4, ge=1, description="how many channels to write to, in turn")
    nodes: str = Field("executor", description="pattern of the nodes to send to")
    submit_timeout: Duration = Field(10.0, gt=0, description="how long to wait for an answer, all attempts together")
    read_timeout: Duration = Field(10.0, gt=0, description="how long to try to read a blob back")
    patience: Span = Field(Span(16, "blocks"), description="how long to wait at the end for the last blobs")
    max_in_flight: int = Field(128, ge=1, description="what would be more at once, of each kind, is dropped")


class DataAvailability(Workload[DataAvailabilityConfig]):
    """Writes to data-availability channels and disperses blobs, and reads every included blob back.

    Open loop, as `transactions` is. Channel operations and blobs are followed into a block (trackers `da.channel`
    and `da.blob`). A blob that is in a block is retrieved, from another node than the one that took it where
    there is one, and compared (by SHA-256) with what was sent: `verified`, `corrupt`, or `unavailable` when no
    node could reconstruct it in time."""

    name = "da"
    Config = DataAvailabilityConfig

    def requires(self) -> frozenset[Capability]:
        return frozenset({Capability.BLOBS})

    def expectations(self) -> Sequence[DefaultExpectation]:
        return (DefaultExpectation("da-availability"),)

    def check(self, ctx: PlanView) -> Sequence[str]:
        if self.config.channel_rate.value <= 0 and self.config.blob_rate.value <= 0:
            return ("channel_rate and blob_rate are both 0: nothing would be sent",)
        return ctx.unmatched("nodes", self.config.nodes)

    def describe(self, ctx: PlanView) -> str:
        config = self.config
        return (
            f"{config.channel_rate} channel operations and {config.blob_rate} blobs of {config.blob_size} bytes "
            f"on {config.channels} channels, each blob read back"
        )

    async def run(self, ctx: Context) -> None:
        config = self.config
        channels, blobs = ctx.tracker(CHANNEL_TRACKER), ctx.tracker(BLOB_TRACKER)
        nodes = ctx.select(config.nodes)
        async with ClientPool() as pool, anyio.create_task_group() as background:
            reader = _Reader(ctx, config, pool, nodes, blobs, background)
            submitter = _Submitter(ctx, config, pool, nodes, reader)
            unsubscribe = ctx.feed.on_body(reader.saw)
            try:
                async with anyio.create_task_group() as sending:
                    sending.start_soon(submitter.write_channels, channels)
                    sending.start_soon(submitter.disperse_blobs, blobs)
                with anyio.move_on_after(min(LONGEST_END, config.patience.seconds(ctx.block_interval))):
                    await reader.all_read()
            finally:
                unsubscribe()  # however it ends: what a block brings now, nobody is left to read
            background.cancel_scope.cancel()
        confess(ctx, channels)
        confess(ctx, blobs)


class _Submitter:
    """Sends both kinds, each at its own rate."""

    def __init__(
        self, ctx: Context, config: DataAvailabilityConfig, pool: ClientPool, nodes: Sequence[Node], reader: _Reader
    ) -> None:
        self._ctx = ctx
        self._config = config
        self._pool = pool
        self._nodes = nodes
        self._reader = reader

    async def write_channels(self, tracker: Tracker) -> None:
        def write(channel: str, payload: bytes) -> Callable[[ChainClient], Awaitable[Receipt]]:
            return lambda client: client.write_channel(channel, payload)

        rng = self._ctx.rng("channel")
        await self._offer_all(tracker, self._config.channel_rate, self._config.channel_size, rng, write)

    async def disperse_blobs(self, tracker: Tracker) -> None:
        def disperse(channel: str, payload: bytes) -> Callable[[ChainClient], Awaitable[Receipt]]:
            return lambda client: client.disperse(channel, payload)

        rng = self._ctx.rng("blob")
        await self._offer_all(
            tracker, self._config.blob_rate, self._config.blob_size, rng, disperse, self._reader.expect
        )

    async def _offer_all(
        self,
        tracker: Tracker,
        rate: Rate,
        size: int,
        rng: random.Random,
        request: Callable[[str, bytes], Callable[[ChainClient], Awaitable[Receipt]]],
        then: Callable[[Ticket, bytes], None] | None = None,
    ) -> None:
        ctx, number, in_flight = self._ctx, 0, anyio.CapacityLimiter(self._config.max_in_flight)

        async def send(ticket: Ticket, turn: int, channel: str, payload: bytes) -> None:
            timeout = self._config.submit_timeout
            answer = await submit(ctx, self._pool, self._nodes, turn, timeout, request(channel, payload))
            answer.record(tracker, ticket)
            if answer.accepted and then is not None:
                then(ticket, payload)
            in_flight.release_on_behalf_of(ticket)

        async with anyio.create_task_group() as sending:
            async for moment in moments(ctx, rate, tracker):
                ticket = tracker.offer(moment)
                payload = rng.randbytes(size)
                channel = f"{ctx.component}-{number % self._config.channels}"
                try:
                    in_flight.acquire_on_behalf_of_nowait(ticket)
                except anyio.WouldBlock:
                    tracker.dropped(ticket, f"{self._config.max_in_flight} were in flight")
                else:
                    sending.start_soon(send, ticket, number, channel, payload)
                number += 1


@dataclass(frozen=True, slots=True)
class _Sent:
    ticket: Ticket
    digest: bytes  # instead of the content: a network that includes nothing must not fill our memory


class _Reader:
    """Reads each blob back once it is in a block."""

    def __init__(
        self,
        ctx: Context,
        config: DataAvailabilityConfig,
        pool: ClientPool,
        nodes: Sequence[Node],
        tracker: Tracker,
        tasks: TaskGroup,
    ) -> None:
        self._ctx = ctx
        self._config = config
        self._pool = pool
        self._nodes = nodes
        self._tracker = tracker
        self._tasks = tasks
        self._expected: dict[str, _Sent] = {}  # accepted, not yet seen in a block
        self._reading = 0
        self._turn = 0
        self._idle = anyio.Event()

    def expect(self, ticket: Ticket, content: bytes) -> None:
        """A node took this blob. It may be in a block already."""
        sent = _Sent(ticket, sha256(content).digest())
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
        with anyio.move_on_after(self._config.read_timeout):
            found = await self._compare(sent, turn)
        self._tracker.mark(found)
        if found != VERIFIED:
            self._ctx.warn(f"blob {sent.ticket.id[:16]} of height {sent.ticket.height}: {found}", id=sent.ticket.id)
        self._reading -= 1
        if not self._reading and not self._expected:
            self._idle.set()

    async def _compare(self, sent: _Sent, turn: int) -> str:
        one_attempt = self._config.read_timeout / ATTEMPTS  # so that a node that hangs leaves time for another
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
