"""The fault `pause`: a node's processes are suspended, and go on later as if nothing had been."""

from __future__ import annotations

from collections.abc import Callable

from harness.api import (
    Fault,
    FaultContext,
    InfrastructureError,
    MachineCapability,
    NoConfig,
    Node,
    NodeState,
    Proof,
)
from harness_nemesis.together import each

WITHIN, AGAIN = 5.0, 0.02
"""Seconds that a kernel may take to suspend all of a node's threads, or to let them go on; and between two looks."""


class Pause(Fault[NoConfig]):
    """Suspends all processes of each target (SIGSTOP, or the freezer of its container): its connections stay open, and
    nobody answers on them. Healed by letting them go on.

    Proven, and proven to be gone, by the kernel's word on the processes. A node that died meanwhile is not paused any
    more: it is not started again."""

    name = "pause"
    Config = NoConfig

    def requires_machine(self) -> frozenset[MachineCapability]:
        return frozenset({MachineCapability.PAUSE})

    async def inject(self, ctx: FaultContext) -> None:
        async def one(node: Node) -> None:
            if node.state is not NodeState.PAUSED:
                await node.pause()

        await each(ctx.targets, one)

    async def prove(self, ctx: FaultContext) -> Proof:
        return await _seen(ctx, lambda state: state == "paused")

    async def heal(self, ctx: FaultContext) -> None:
        async def one(node: Node) -> None:
            try:
                await node.resume()
            except InfrastructureError:
                if await node.process_state() != "gone":
                    raise

        await each(ctx.targets, one)

    async def prove_healed(self, ctx: FaultContext) -> Proof:
        return await _seen(ctx, lambda state: state != "paused")


async def _seen(ctx: FaultContext, wanted: Callable[[str], bool]) -> Proof:
    """Whether all processes come to a wanted state: signals are obeyed a moment after they were sent."""
    give_up = ctx.clock.now() + WITHIN
    while True:
        seen = {node.name: await node.process_state() for node in ctx.targets}
        if (holds := all(map(wanted, seen.values()))) or ctx.clock.now() >= give_up:
            return Proof(holds, seen)
        await ctx.clock.sleep(AGAIN)
