"""The controller's end: senders that share one job, fed, steered and listened to."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial

import anyio

from harness.errors import InfrastructureError
from harness.load.here import process_here
from harness.load.job import Job, Start
from harness.load.peer import Peer
from harness.load.tally import Told
from harness.load.wire import NO_LANE, Kind, Redirect, Result, Shot, pack_redirects

OPEN_WITHIN = 30.0
"""Seconds in which senders must have started and opened their connections, or have failed to."""

OnResults = Callable[[int, Sequence[Result]], None]
OnTold = Callable[[int, Told], None]
Source = Callable[[str], AbstractAsyncContextManager[Peer]]
"""Where a sender comes from: with a name for it, one that runs as long as the context."""


class Senders:
    """Some senders that share one job. Lanes are theirs in turn: lane n is sender n modulo their number's.

    `names` are for people, `machines` where they are, "" for this one; `unreachable`: which targets could not be
    connected to beforehand, and why."""

    def __init__(self, peers: Sequence[Peer]) -> None:
        self._peers = peers
        self.names = tuple(peer.name for peer in peers)
        self.machines = tuple(peer.machine for peer in peers)
        self.unreachable = tuple(dict.fromkeys(line for peer in peers for line in peer.unreachable))

    def __len__(self) -> int:
        return len(self._peers)

    @property
    def clocks(self) -> tuple[tuple[str, float, float], ...]:
        """Of each sender whose clock is not ours its name, what to add to our seconds to get its own, and by how much
        that may be wrong."""
        now = time.monotonic()
        return tuple((peer.name, *peer.clock.at(now)) for peer in self._peers if peer.clock.known)

    async def feed(self, shots: Iterable[Shot]) -> None:
        """Hand over what is to be sent, in this order. Raises InfrastructureError when a sender is gone."""
        shares: list[list[Shot]] = [[] for _ in self._peers]
        for shot in shots:
            number = shot.serial if shot.lane == NO_LANE else shot.lane
            shares[number % len(shares)].append(shot)
        for peer, share in zip(self._peers, shares, strict=True):
            if share:
                await peer.feed(share)

    async def start(self, start: Start) -> None:
        """Have them fire from then on: together, and so a little later where some have to be told over a long way."""
        lead = max(peer.lead for peer in self._peers)
        start = replace(start, at=max(start.at, time.monotonic() + lead)) if lead else start
        for peer in self._peers:
            await peer.start(start)

    async def pause(self) -> None:
        """Nothing is sent until `resume`; what is due meanwhile comes later by as long."""
        await self._all(Peer.pause)

    async def resume(self) -> None:
        await self._all(Peer.resume)

    async def stop(self) -> None:
        """No moment comes any more. What is in flight goes on to its end."""
        await self._all(Peer.stop)

    async def redirect(self, redirects: Sequence[Redirect]) -> None:
        """Where targets are from now on, and which of them to trust."""
        payload = pack_redirects(redirects)
        await self._all(lambda peer: peer.tell(Kind.REDIRECT, payload))

    async def listen(self, results: OnResults, told: OnTold) -> None:
        """Take what they tell, with the sender's number, until all are done. Raises InfrastructureError when one ends
        before it is."""
        async with anyio.create_task_group() as tasks:
            for number, peer in enumerate(self._peers):
                tasks.start_soon(peer.listen, partial(results, number), partial(told, number))

    async def last_words(self, results: OnResults, told: OnTold) -> None:
        """End them now, and take what they still have to tell: what is in flight is told to be cut off, and, of those
        that have ended already or do not answer, what was due since they told last to be untold."""
        async with anyio.create_task_group() as tasks:
            for number, peer in enumerate(self._peers):
                tasks.start_soon(peer.end, partial(results, number), partial(told, number))

    async def _all(self, tell: Callable[[Peer], Awaitable[None]]) -> None:
        for peer in self._peers:
            await tell(peer)


@asynccontextmanager
async def senders(job: Job, sources: Sequence[Source] | int = 1) -> AsyncIterator[Senders]:
    """One sender of each source (or so many on this machine), their connections open. They share what may be in flight.
    They end with this context, at once, and with this process, however it ends. Raises InfrastructureError when they do
    not start."""
    if isinstance(sources, int):
        sources = [process_here] * sources
    among = len(sources)
    share = replace(job, among=among, max_in_flight=math.ceil(job.max_in_flight / among))
    contexts: list[AbstractAsyncContextManager[Peer]] = []
    peers: dict[int, Peer] = {}
    failed: list[InfrastructureError] = []

    async def begin(number: int, source: Source) -> None:
        try:
            context = source(f"{number + 1} of {among}")
            peer = await context.__aenter__()
            contexts.append(context)
            await peer.begin(replace(share, number=number))
            await peer.ready()
            peers[number] = peer
        except InfrastructureError as error:
            failed.append(error)

    # All at once: one after the other, the round trips to many machines would add up to more time than there is.
    try:
        with anyio.move_on_after(OPEN_WITHIN) as limit:
            async with anyio.create_task_group() as tasks:
                for number, source in enumerate(sources):
                    tasks.start_soon(begin, number, source)
        if failed:
            raise InfrastructureError("\n".join(dict.fromkeys(map(str, failed))))
        if limit.cancelled_caught:
            raise InfrastructureError(f"the senders were not ready within {OPEN_WITHIN:g} s")
        yield Senders([peers[number] for number in range(among)])
    finally:
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as tasks:
                for context in contexts:
                    tasks.start_soon(context.__aexit__, None, None, None)
