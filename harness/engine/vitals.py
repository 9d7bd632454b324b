"""How nodes are doing, asked again and again, for whoever watches: peers, version, CPU, memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TypeVar

import anyio

from harness.clock import Clock
from harness.engine.tasks import all_of
from harness.errors import HarnessError
from harness.plugin.contract.machine import Usage
from harness.plugin.contract.node import Node, NodeState
from harness.record.events import Event, NodeMeasured

T = TypeVar("T")
EVERY = 5.0
"""Seconds between two questions to a node."""
PATIENCE = 4.0
"""Seconds that an answer may take: a node that does not answer is told as such by others."""
AT_ONCE = 16


class Vitals:
    """Of these nodes, until cancelled."""

    def __init__(self, nodes: Iterable[Node], clock: Clock, emit: Callable[[Event], None]) -> None:
        self._nodes = tuple(nodes)
        self._clock = clock
        self._emit = emit
        self._limit = anyio.Semaphore(AT_ONCE)
        self._before: dict[str, tuple[float, Usage]] = {}
        self._versions: dict[str, tuple[int | None, str]] = {}

    async def watch(self) -> None:
        """Ask all, again and again."""
        while True:
            began = self._clock.now()
            running = [node for node in self._nodes if node.state is NodeState.RUNNING]
            await all_of(partial(self._ask, node) for node in running)
            await self._clock.sleep_until(began + EVERY)

    async def _ask(self, node: Node) -> None:
        async with self._limit:
            peers = await _patiently(node.client().peers)
            usage = await _patiently(node.usage)
            version = await self._version(node)
        if node.state is NodeState.RUNNING:
            cpu = self._cpu(node.name, usage)
            self._emit(
                NodeMeasured(
                    node.name, None if peers is None else len(peers), version, cpu, usage.memory if usage else None
                )
            )

    async def _version(self, node: Node) -> str:
        """Asked once for each start."""
        known = self._versions.get(node.name)
        if known is None or known[0] != node.pid:
            version = await _patiently(node.client().version)
            if not version:
                return ""
            known = self._versions[node.name] = node.pid, version
        return known[1]

    def _cpu(self, name: str, usage: Usage | None) -> float | None:
        """In cores, since it was looked at before."""
        if usage is None:
            self._before.pop(name, None)
            return None
        now, before = self._clock.now(), self._before.get(name)
        self._before[name] = now, usage
        if before is None or now <= before[0] or usage.cpu < before[1].cpu:  # less: it was started anew
            return None
        return (usage.cpu - before[1].cpu) / (now - before[0])


async def _patiently(ask: Callable[[], Awaitable[T]]) -> T | None:
    """What it says, None where it does not: that a node does not answer is for the feed to tell."""
    with anyio.move_on_after(PATIENCE):
        try:
            return await ask()
        except HarnessError:
            return None
    return None
