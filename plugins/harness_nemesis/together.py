"""The same to several nodes at once; what fails at one keeps no other from its turn."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import anyio

from harness.api import FaultError, HarnessError, Node


async def each(nodes: Iterable[Node], act: Callable[[Node], Awaitable[object]]) -> None:
    """Act on all nodes to the end. Raises the one HarnessError that there was, or a FaultError that tells of all."""
    errors: list[HarnessError] = []

    async def one(node: Node) -> None:
        try:
            await act(node)
        except HarnessError as error:
            errors.append(error)

    async with anyio.create_task_group() as tasks:
        for node in nodes:
            tasks.start_soon(one, node)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise FaultError("; ".join(map(str, errors)))
