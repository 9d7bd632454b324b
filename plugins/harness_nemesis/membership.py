"""Faults that change who is in the network: `join`, `leave`, and `churn`, which is both at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from harness.api import (
    Config,
    Duration,
    Fault,
    FaultContext,
    FaultError,
    MachineCapability,
    Node,
    NodeState,
    Proof,
    Unreachable,
)
from harness_nemesis.together import each

BEHIND = 2
"""Blocks that a node may be behind the highest and count as caught up: one on its way to it, one being made."""
LOOK_EVERY = 0.2
"""Seconds between two looks at how far a joining node has come: its height is told to who asks."""


class JoinConfig(Config):
    """`catch_up`: how long a node may take, once it is started, to answer and to have come as far as the others."""

    catch_up: Duration = 60.0


class _Membership(Fault[JoinConfig]):
    """What they have in common: who leaves ends, who comes must catch up."""

    Config = JoinConfig

    def __init__(self, config: JoinConfig) -> None:
        super().__init__(config)
        self._coming: list[Node] = []
        self._joined: dict[str, Any] = {}  # who has come, as it was seen when that was over
        self._begun = False

    def requires_machine(self) -> frozenset[MachineCapability]:
        return frozenset({MachineCapability.NODE_CONTROL})

    def leaving(self, ctx: FaultContext) -> Sequence[Node]:
        return ctx.targets

    async def inject(self, ctx: FaultContext) -> None:
        self._begun = True
        await each(self._coming, lambda node: node.start())
        await each(
            [node for node in self.leaving(ctx) if node.state is not NodeState.STOPPED], lambda node: node.stop()
        )

    async def prove(self, ctx: FaultContext) -> Proof:
        """Who has come is a node like any other once it has caught up: what becomes of it then is no matter of this."""
        seen = await self._processes(ctx)
        if not self._as_it_should(ctx, seen):
            return Proof(False, {"processes": seen})
        behind: dict[str, str] = {}
        await each(self._still_joining, lambda node: self._catch_up(ctx, node, behind))
        return Proof(None if behind else True, {"processes": seen, "joined": self._joined})

    async def heal(self, ctx: FaultContext) -> None:
        """Nothing is undone: the network is another one from now on."""

    async def prove_healed(self, ctx: FaultContext) -> Proof:
        if not self._begun:
            return Proof(True, {"healed": "nobody had come or left"})
        seen = await self._processes(ctx)
        return Proof(self._as_it_should(ctx, seen), {"processes": seen})

    @property
    def _still_joining(self) -> Sequence[Node]:
        return [node for node in self._coming if node.name not in self._joined]

    async def _catch_up(self, ctx: FaultContext, node: Node, behind: dict[str, str]) -> None:
        """Until it has. Raises FaultError where it has not in time, and no other fault is in the way of its traffic."""
        began = ctx.clock.now()
        await node.wait_ready(self.config.catch_up)
        while True:
            own, highest = (await node.client().head()).height, await self._highest(ctx, node)
            after = ctx.clock.now() - began
            if own >= highest - BEHIND:
                self._joined[node.name] = {"height": own, "highest": highest, "after": after}
                return
            if after > self.config.catch_up:
                far = f"{node.name} has joined and is at height {own}, the others at {highest}"
                if not any(node.name in (flow.src, flow.dst) for flow in ctx.shaped_by_others()):
                    raise FaultError(far)
                self._joined[node.name] = behind[node.name] = f"{far}; other faults disturb its traffic"
                return
            await ctx.clock.sleep(LOOK_EVERY)

    async def _highest(self, ctx: FaultContext, but: Node) -> int:
        others = [n for n in ctx.nodes.values() if n is not but and n.state is NodeState.RUNNING]
        heights = []
        for node in others:
            try:
                heights.append((await node.client().head()).height)
            except Unreachable:
                continue  # it may be under another fault
        return max(heights, default=0)

    async def _processes(self, ctx: FaultContext) -> dict[str, str]:
        return {node.name: await node.process_state() for node in (*self.leaving(ctx), *self._still_joining)}

    def _as_it_should(self, ctx: FaultContext, seen: Mapping[str, str]) -> bool:
        gone = all(seen[node.name] == "gone" for node in self.leaving(ctx))
        return gone and all(seen[node.name] == "running" for node in self._still_joining)


class Join(_Membership):
    """Starts targets that are not in the network: late ones (`[topology] late = ...`), or such as have left it.

    Proven when they answer and have caught up with the others. They stay, and are nodes like any other from then on."""

    name = "join"

    def choose(self, free: Sequence[str], rng: Random) -> Sequence[str]:
        return ()  # nemeses choose among nodes that are there: theirs is churn

    def downs(self, targets: Sequence[str], powers: Mapping[str, int]) -> frozenset[str]:
        return frozenset()

    def comes(self, targets: Sequence[str], absent: Sequence[str]) -> Sequence[str]:
        if there := ", ".join(name for name in targets if name not in absent):
            raise FaultError(f"{there} is in the network already; absent: {', '.join(absent) or 'none'}")
        return targets

    def leaving(self, ctx: FaultContext) -> Sequence[Node]:
        return ()

    async def inject(self, ctx: FaultContext) -> None:
        self.comes([node.name for node in ctx.targets], ctx.absent)
        self._coming = list(ctx.targets)
        await super().inject(ctx)


class Leave(_Membership):
    """Targets are stopped and stay away: nothing starts them again but `join` or `churn`.

    Proven by the kernel no longer having their processes, also at the end."""

    name = "leave"

    def gone(self, targets: Sequence[str]) -> frozenset[str]:
        return frozenset(targets)


class Churn(Leave):
    """Each target leaves the network, and another node comes in its place, with keys of its own: a late one
    (`[topology] late = ...`) as long as there is one, then the one that has been away longest.

    Proven by the processes, and when who came answers and has caught up with the others."""

    name = "churn"

    def comes(self, targets: Sequence[str], absent: Sequence[str]) -> Sequence[str]:
        if len(absent) < len(targets):
            raise FaultError(
                f"there is no node to come in the place of {targets[len(absent)]}: "
                "write [topology] late = PATTERN for nodes that come later"
            )
        return absent[: len(targets)]

    async def inject(self, ctx: FaultContext) -> None:
        if not self._coming:
            self._coming = [ctx.nodes[name] for name in self.comes([node.name for node in ctx.targets], ctx.absent)]
        await super().inject(ctx)
