"""How far machines' clocks are off, asked now and then: logs of several machines are put in order by it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import anyio

from harness.clock import Clock
from harness.engine.tasks import all_of
from harness.errors import InfrastructureError
from harness.plugin.clock_offset import clock_offset
from harness.plugin.contract.base import MachineCapability
from harness.plugin.contract.node import Node, NodeState
from harness.record.events import ClockMeasured, Event

EVERY = 300.0
"""Seconds between two looks at all clocks. A clock that nobody sets drifts by some 15 ms meanwhile."""
AGAIN = 15.0
"""Seconds until those that said nothing are asked again."""
AT_ONCE = 8


class Clocks:
    """Of these nodes' machines, until cancelled. Machines with one kernel have one clock, and one of them is asked."""

    def __init__(self, nodes: Iterable[Node], clock: Clock, emit: Callable[[Event], None]) -> None:
        self._by_clock: dict[str, list[Node]] = {}
        for node in nodes:
            if MachineCapability.COMMANDS in node.machine.capabilities:
                self._by_clock.setdefault(node.machine.kernel or node.machine.name, []).append(node)
        self._clock = clock
        self._emit = emit
        self._limit = anyio.Semaphore(AT_ONCE)
        self._known: set[str] = set()

    async def watch(self) -> None:
        """Ask all, again and again."""
        while self._by_clock:
            self._known.clear()
            next_look = self._clock.now() + EVERY
            while self._clock.now() < next_look:
                missing = [name for name in self._by_clock if name not in self._known]
                await all_of(partial(self._ask, name, self._by_clock[name]) for name in missing)
                missed = len(self._known) < len(self._by_clock)
                await self._clock.sleep_until(min(next_look, self._clock.now() + AGAIN) if missed else next_look)

    async def _ask(self, name: str, nodes: Sequence[Node]) -> None:
        """That a machine does not answer is for others to tell."""
        machine = next((node.machine for node in nodes if node.state is NodeState.RUNNING), nodes[0].machine)
        async with self._limit:
            try:
                offset = await clock_offset(machine)
            except InfrastructureError:
                return
        if offset is not None:
            self._known.add(name)
            names = tuple(node.name for node in nodes)
            self._emit(ClockMeasured(machine.name, names, round(offset.seconds, 6), round(offset.uncertainty, 6)))
