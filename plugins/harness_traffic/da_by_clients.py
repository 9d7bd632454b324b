"""Channel operations and blobs through the chain's own clients, in this process: for chains that say no other way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256

import anyio

from harness.api import ChainClient, Context, Node, Receipt, Ticket, Tracker
from harness_traffic.clients import ClientPool, submit
from harness_traffic.openloop import moments
from harness_traffic.schedule import ScheduleConfig, whole


async def offer_all(
    ctx: Context,
    config: ScheduleConfig,
    pool: ClientPool,
    nodes: Sequence[Node],
    tracker: Tracker,
    channels: Sequence[str],
    size: int,
    request: Callable[[str, bytes], Callable[[ChainClient], Awaitable[Receipt]]],
    then: Callable[[Ticket, bytes], None] | None = None,
) -> None:
    """Send one kind of them, of so many bytes, until the deadline; `then` is told of what a node took, and the SHA-256
    of its data."""
    number, in_flight = 0, anyio.CapacityLimiter(config.max_in_flight)
    rng = ctx.rng(tracker.name)

    async def send(ticket: Ticket, turn: int, channel: str, data: bytes) -> None:
        answer = await submit(ctx, pool, nodes, turn, config.submit_timeout, request(channel, data))
        answer.record(tracker, ticket)
        if answer.accepted and then is not None:
            then(ticket, sha256(data).digest())
        in_flight.release_on_behalf_of(ticket)

    async with anyio.create_task_group() as sending:
        async for moment in moments(
            ctx, whole(ctx, config), tracker, config.arrivals, ctx.rng(f"arrivals {tracker.name}")
        ):
            ticket = tracker.offer(moment)
            data = rng.randbytes(size)
            try:
                in_flight.acquire_on_behalf_of_nowait(ticket)
            except anyio.WouldBlock:
                tracker.dropped(ticket, f"{config.max_in_flight} were in flight")
            else:
                sending.start_soon(send, ticket, number, channels[number % len(channels)], data)
            number += 1
