"""Asking the nodes of a network that runs already who they are, for chains that adopt it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import anyio

from harness.errors import Unreachable
from harness.plugin.contract.chain import ChainClient
from harness.plugin.contract.machine import Address
from harness.record.text import unnamed
from harness.spec.topology import NodeSpec, Topology

ClientT = TypeVar("ClientT", bound=ChainClient)
SaidT = TypeVar("SaidT")


@dataclass(frozen=True, slots=True)
class Introduction(Generic[ClientT, SaidT]):
    """What a node says of itself, where it was asked, and the client that asked it."""

    node: NodeSpec
    api: Address
    client: ClientT
    said: SaidT

    def __str__(self) -> str:
        return f"{self.node.name} ({self.api})"


@asynccontextmanager
async def introduced(
    topology: Topology,
    apis: Mapping[str, Address],
    client: Callable[[str, Address], ClientT],
    ask: Callable[[ClientT], Awaitable[SaidT]],
) -> AsyncIterator[Sequence[Introduction[ClientT, SaidT]]]:
    """Ask the nodes at `apis` (node name → address) all at once, each through a `client` of its own; they are closed
    when this is left. Raises Unreachable with everyone who does not answer."""
    async with AsyncExitStack() as stack:
        clients = {name: client(name, api) for name, api in apis.items()}
        for one in clients.values():
            stack.push_async_callback(one.aclose)
        said: dict[str, SaidT] = {}
        silent: dict[str, str] = {}

        async def ask_one(name: str) -> None:
            try:
                said[name] = await ask(clients[name])
            except Unreachable as error:
                silent[name] = f"{name}: {unnamed(str(error), name)}"

        async with anyio.create_task_group() as tasks:
            for name in apis:
                tasks.start_soon(ask_one, name)
        if silent:
            raise Unreachable("; ".join(silent[name] for name in apis if name in silent))
        yield [Introduction(topology.node(name), api, clients[name], said[name]) for name, api in apis.items()]
