"""What shapes the links of a deployment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import anyio

from harness.api import FaultError, Flow, InfrastructureError, Link, LinkShape, MachineCapability
from harness_agent.relay.control import Relay

SHAPES = frozenset({MachineCapability.LINK_CONTROL, MachineCapability.LINK_DELAY, MachineCapability.LINK_RATE})
"""What relays can do to links. They cannot lose packets: to TCP, which is all that they see, that is a delay."""


def wants_links(needs: Iterable[MachineCapability]) -> bool:
    """Whether any of these is about links, so that it takes something to shape them with."""
    return not SHAPES.isdisjoint(needs)


class LinkShaper(Protocol):
    """Does things to the traffic between a deployment's nodes."""

    async def shape(self, shapes: Mapping[Flow, LinkShape]) -> None:
        """Exactly this. See Deployment.shape_links. Raises FaultError."""

    def passage(self, link: Link, port: int) -> AbstractAsyncContextManager[int]:
        """The port in whose place the link's source is to dial this one of its destination's machine, so that it goes
        as the link's traffic does. See Deployment.passage."""

    def mechanisms(self, shape: LinkShape) -> frozenset[str]:
        """See Deployment.mechanisms."""

    def close(self) -> None:
        """It is about to be removed, with all else."""


@asynccontextmanager
async def straight(port: int) -> AsyncIterator[int]:
    """A passage where nothing stands between the machines."""
    yield port


class RelayShaper:
    """By relays, each of which has some of the links. A relay does what is to be done to a flow wherever it sees it: a
    flow that passes two of them, as each node dials the other, is given its rate by each."""

    def __init__(self, relays: Sequence[Relay], warn: Callable[[str, str], None]) -> None:
        """`warn` is told of a relay that ends before `close`."""
        self._relays = relays
        for relay in relays:
            relay.watch(warn)

    def close(self) -> None:
        for relay in self._relays:
            relay.release()

    def mechanisms(self, shape: LinkShape) -> frozenset[str]:
        return frozenset({"relay"})

    def passage(self, link: Link, port: int) -> AbstractAsyncContextManager[int]:
        return next((relay.passage(link, port) for relay in self._relays if relay.has(link)), straight(port))

    async def shape(self, shapes: Mapping[Flow, LinkShape]) -> None:
        lossy = sorted(f"{flow.src} to {flow.dst}" for flow, shape in shapes.items() if shape.loss)
        if lossy:
            raise FaultError(f"packets from {', '.join(lossy)} cannot be lost by a relay, which sees streams")
        problems: list[str] = []

        async def one(relay: Relay) -> None:
            try:
                await relay.shape(shapes)
            except InfrastructureError as error:
                problems.append(str(error))

        with anyio.CancelScope(shield=True):  # all of them or none: each waits for its answer anyhow
            async with anyio.create_task_group() as tasks:
                for relay in self._relays:
                    tasks.start_soon(one, relay)
        if problems:
            raise FaultError(f"links are not as they were to be: {'; '.join(sorted(problems))}")
