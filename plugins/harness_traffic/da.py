"""The workload `da`: data availability."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import anyio
from pydantic import Field

from harness.api import (
    Arrivals,
    Capability,
    ChainClient,
    Config,
    Context,
    DefaultExpectation,
    Duration,
    Network,
    PlanView,
    Rate,
    Receipt,
    Size,
    Span,
    Ticket,
    Workload,
)
from harness_traffic.clients import ClientPool
from harness_traffic.da_by_clients import offer_all
from harness_traffic.openloop import confess
from harness_traffic.read_back import Reader
from harness_traffic.schedule import ScheduleConfig
from harness_traffic.thin_data import ThinData

CHANNEL_TRACKER, BLOB_TRACKER = "da.channel", "da.blob"
LONGEST_END = 25.0
"""Seconds that the last blobs may take after the deadline, whatever `patience` says: the engine grants 30."""


class DataAvailabilityConfig(Config):
    """Options of `da`."""

    channel_rate: Rate = Field(Rate(1.0), description="channel operations to offer: per block, or per second")
    blob_rate: Rate = Field(Rate(1.0), description="blobs to disperse: per block, or per second")
    blob_size: Size = Field(4096, ge=1, le=16 << 20, description="bytes of a blob, all random")
    channel_size: Size = Field(64, ge=16, le=16 << 20, description="bytes of a channel operation, all random")
    channels: int = Field(4, ge=1, description="how many channels to write to, in turn")
    nodes: str = Field("executor", description="pattern of the nodes to send to")
    arrivals: Arrivals = Field("uniform", description="evenly spaced, or at random as of many independent users")
    warm_up: Duration = Field(0.0, ge=0, description="latencies count from then on")
    submit_timeout: Duration = Field(
        10.0, gt=0, le=25, description="how long to wait for an answer, all attempts together"
    )
    read_timeout: Duration = Field(10.0, gt=0, description="how long to try to read a blob back")
    patience: Span = Field(Span(16, "blocks"), description="how long to wait at the end for the last blobs")
    max_in_flight: int = Field(128, ge=1, le=20_000, description="what would be more at once, of each kind, is dropped")

    senders: int | None = Field(
        None,
        ge=1,
        le=64,
        description="processes on each machine that sends, of each kind; by default as many as it takes",
    )

    def load(self, rate: Rate) -> ScheduleConfig:
        """Of one kind. Its values are valid already, and no longer as they are written."""
        return ScheduleConfig.model_construct(
            rate=rate,
            stages=[],
            arrivals=self.arrivals,
            warm_up=self.warm_up,
            submit_timeout=self.submit_timeout,
            max_in_flight=self.max_in_flight,
            senders=self.senders,
        )


class DataAvailability(Workload[DataAvailabilityConfig]):
    """Writes to data-availability channels and disperses blobs, and reads every included blob back.

    Open loop, and sent by processes of its own where the chain says how, as `transactions` is. Channel operations and
    blobs are followed into a block (trackers `da.channel` and `da.blob`). A blob that is in a block is retrieved, from
    another node than the one that took it where there is one, and compared (by SHA-256) with what was sent:
    `verified`, `corrupt`, or `unavailable` when no node could reconstruct it in time."""

    name = "da"
    sends = True
    Config = DataAvailabilityConfig

    def __init__(self, config: DataAvailabilityConfig) -> None:
        super().__init__(config)
        self._thin: list[ThinData] = []
        self._reader: Reader | None = None

    def requires(self) -> frozenset[Capability]:
        return frozenset({Capability.BLOBS})

    def expectations(self) -> Sequence[DefaultExpectation]:
        return (DefaultExpectation("da-availability"),)

    def check(self, ctx: PlanView) -> Sequence[str]:
        config = self.config
        rates = [rate for rate in (config.channel_rate, config.blob_rate) if rate.value > 0]
        if not rates:
            return ("channel_rate and blob_rate are both 0: nothing would be sent",)
        wrong = [text for rate in rates for text in config.load(rate).problems(ctx)]
        return wrong[:1] or ctx.unmatched("nodes", config.nodes)

    def describe(self, ctx: PlanView) -> str:
        config = self.config
        return (
            f"{config.channel_rate} channel operations and {config.blob_rate} blobs of {config.blob_size} bytes "
            f"on {config.channels} channels, each blob read back"
        )

    def by_clients(self, network: Network) -> bool:
        return network.data_format() is None

    async def prepare(self, ctx: Context) -> None:
        """Start what sends."""
        config, nodes = self.config, ctx.select(self.config.nodes)
        if (format := ctx.network.data_format()) is None:
            return
        for name, rate, path, size in (
            (CHANNEL_TRACKER, config.channel_rate, format.channel_path, config.channel_size),
            (BLOB_TRACKER, config.blob_rate, format.blob_path, config.blob_size),
        ):
            if rate.value > 0:
                then = self._took if name == BLOB_TRACKER else None
                thin = ThinData(
                    ctx, config.load(rate), nodes, ctx.tracker(name), format, path, self._channels(ctx), size, then
                )
                await thin.prepare()
                self._thin.append(thin)

    async def run(self, ctx: Context) -> None:
        config = self.config
        channels, blobs = ctx.tracker(CHANNEL_TRACKER), ctx.tracker(BLOB_TRACKER)
        if config.warm_up:
            for tracker in (channels, blobs):
                tracker.timings.counts_from = ctx.window.start + config.warm_up
        nodes = ctx.select(config.nodes)
        async with ClientPool() as pool, anyio.create_task_group() as background:
            reader = self._reader = Reader(ctx, config.read_timeout, pool, nodes, blobs, background)
            unsubscribe = ctx.feed.on_body(reader.saw)
            try:
                async with anyio.create_task_group() as sending:
                    for thin in self._thin:
                        sending.start_soon(thin.run)
                    if ctx.network.data_format() is None:
                        await self._by_clients(ctx, pool)
                with anyio.move_on_after(min(LONGEST_END, config.patience.seconds(ctx.block_interval))):
                    await reader.all_read()
            finally:
                unsubscribe()  # however it ends: what a block brings now, nobody is left to read
            background.cancel_scope.cancel()
        confess(ctx, channels)
        confess(ctx, blobs)

    def _took(self, ticket: Ticket, digest: bytes) -> None:
        assert self._reader is not None
        self._reader.expect(ticket, digest)

    def _channels(self, ctx: Context) -> list[str]:
        return [f"{ctx.component}-{number}" for number in range(self.config.channels)]

    async def _by_clients(self, ctx: Context, pool: ClientPool) -> None:
        def write(channel: str, data: bytes) -> Callable[[ChainClient], Awaitable[Receipt]]:
            return lambda client: client.write_channel(channel, data)

        def disperse(channel: str, data: bytes) -> Callable[[ChainClient], Awaitable[Receipt]]:
            return lambda client: client.disperse(channel, data)

        config, nodes, channels = self.config, ctx.select(self.config.nodes), self._channels(ctx)
        async with anyio.create_task_group() as sending:
            for name, rate, size, request in (
                (CHANNEL_TRACKER, config.channel_rate, config.channel_size, write),
                (BLOB_TRACKER, config.blob_rate, config.blob_size, disperse),
            ):
                if rate.value > 0:
                    then = self._took if name == BLOB_TRACKER else None
                    tracker = ctx.tracker(name)
                    sending.start_soon(
                        offer_all, ctx, config.load(rate), pool, nodes, tracker, channels, size, request, then
                    )
