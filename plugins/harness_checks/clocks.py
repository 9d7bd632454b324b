"""Clocks of nodes' machines, and how far header times are off for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio

from harness.api import ClockOffset, Context, InfrastructureError, MachineCapability, Node, clock_offset

WITHIN = 10.0
"""Seconds that all machines together may take to tell their time."""


async def offsets(ctx: Context) -> dict[str, ClockOffset]:
    """How far the clocks of the nodes that vote are ahead of the controller's, of those whose machines tell."""
    found: dict[str, ClockOffset] = {}

    async def ask(node: Node) -> None:
        try:
            if offset := await clock_offset(node.machine):
                found[node.name] = offset
        except InfrastructureError as error:
            ctx.note(f"the clock of {node.name} is not known: {error}")

    with anyio.move_on_after(WITHIN):
        async with anyio.create_task_group() as tasks:
            for node in ctx.nodes.values():
                if ctx.network.power(node.spec) and MachineCapability.COMMANDS in node.capabilities:
                    tasks.start_soon(ask, node)
    return found


@dataclass(slots=True)
class HeaderClocks:
    """Whose clocks headers' times are by, and how far those are ahead: measured before the drive and after it, the mean
    of both. What is not known is not corrected."""

    stamped_by: str = "slots"
    powers: Mapping[str, int] = field(default_factory=dict)
    measured: list[Mapping[str, ClockOffset]] = field(default_factory=list)

    async def measure(self, ctx: Context) -> None:
        """Once before the drive, once after it. Times that are slots' are no clock's: nothing is asked for them."""
        timing = ctx.network.timing or ctx.chain.timing
        if timing.slot:
            return
        self.stamped_by = timing.stamped_by
        self.powers = {node.name: ctx.network.power(node.spec) for node in ctx.nodes.values()}
        self.measured.append(await offsets(ctx))

    def of(self, node: str) -> float:
        """Seconds that this node's clock is ahead; 0 where that is not known."""
        known = [offsets[node].seconds for offsets in self.measured if node in offsets]
        return sum(known) / len(known) if known else 0.0

    def ahead(self) -> Mapping[str, float]:
        """Seconds that the headers of each proposer are ahead; those of no node of this run under "". For what
        validators stamp together it is the median of their clocks, by power."""
        nodes = {name for offsets in self.measured for name in offsets}
        if self.stamped_by == "slots":
            return {}
        if self.stamped_by == "proposer":
            return {node: self.of(node) for node in nodes}
        ordered = sorted((self.of(node), self.powers.get(node, 0)) for node in nodes)
        half, below, median = sum(power for _, power in ordered) / 2, 0, 0.0
        for offset, power in ordered:
            median, below = offset, below + power
            if below >= half:
                break
        return dict.fromkeys((*self.powers, ""), median)

    def evidence(self) -> dict[str, Any]:
        return {
            "stamped_by": self.stamped_by,
            "offsets_seconds": [
                {node: [round(o.seconds, 6), round(o.uncertainty, 6)] for node, o in sorted(offsets.items())}
                for offsets in self.measured
            ],
            "corrected_by_seconds": {node: round(seconds, 6) for node, seconds in sorted(self.ahead().items())},
        }
