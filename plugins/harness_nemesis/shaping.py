"""What all faults on links have in common: they shape traffic, and look at links before, during and after."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from pydantic import Field

from harness.api import Config, Duration, Fault, FaultContext, Flow, Link, LinkShape, Proof, no_link
from harness_nemesis.grudge import Powers
from harness_nemesis.looking import Look, both_ways, look

TRIES = 3
"""Looks that must all say no before it is believed: a machine may be busy, a node just started."""
TRIES_BEFORE = 8
"""Looks at most at how links are before: what others are changing at that moment could never be judged."""
PAUSE = 0.5
"""Seconds from a look to the next."""
MECHANISM = "mechanism"
"""Where evidence says what the traffic was disturbed by: relay, nft, tc."""
MOST = 100
"""Links at most that are looked at without being shaped themselves."""


class LinkConfig(Config):
    """`patience`: how long a dial may take before the link counts as cut. `healed_within`: how long links may take,
    once nothing is done to them any more, to be as they were."""

    patience: Duration = Field(2.0, gt=0)
    healed_within: Duration = 30.0


LinkConfigT = TypeVar("LinkConfigT", bound=LinkConfig)


class LinkFault(Fault[LinkConfigT]):
    """Shapes the traffic of some links, and can tell by dialling them.

    Links are judged that were there before, whose ends run, and to which other faults do the same as before."""

    at_once = 1
    """So many of these dials are made together: more where it does not matter that they take each other's time."""

    def __init__(self, config: LinkConfigT) -> None:
        super().__init__(config)
        self.shapes: Mapping[Flow, LinkShape] = {}
        self.before: Look | None = None

    @abstractmethod
    def wanted(self, targets: Sequence[str], powers: Powers, links: Sequence[Link]) -> Mapping[Flow, LinkShape]:
        """What to do to which traffic of a network of these links. Pure. Raises FaultError, UsageError."""

    def whose(self, targets: Sequence[str]) -> Sequence[str]:
        """What it disturbs, in words."""
        return [f"traffic of {name}" for name in targets]

    def judge(self, ctx: FaultContext, before: Look, now: Look) -> Proof:
        """Whether it holds, by links looked at before and now."""
        return Proof(None, {"unproven": f"{self.name}: what it does cannot be seen from outside"})

    def judge_healed(self, before: Look, now: Look) -> Proof:
        """Whether links are as they were before."""
        return Proof(None, {"unproven": f"{self.name}: whether it is gone cannot be seen from outside"})

    def is_clear(self, before: Look) -> bool:
        """Whether later looks can be held against this one; else another is tried before anything is done."""
        return True

    def downs(self, targets: Sequence[str], powers: Powers) -> frozenset[str]:
        return frozenset()

    def pointless(self, targets: Sequence[str], powers: Powers, links: Sequence[Link]) -> str:
        shapes = self.wanted(targets, powers, links)
        if _carrying(shapes, links):
            return ""
        return no_link([f"{flow.src} to {flow.dst}" for flow in sorted(shapes)] or self.whose(targets))

    async def inject(self, ctx: FaultContext) -> None:
        powers = {name: ctx.network.power(node.spec) for name, node in ctx.nodes.items()}
        self.shapes = self.wanted([node.name for node in ctx.targets], powers, ctx.links)
        touched = _carrying(self.shapes, ctx.links)
        if self.before is None:  # injected again, it would see its own doing
            others = [link for link in ctx.links if link not in touched]
            sample = ctx.rng.sample(others, min(MOST, len(others)))
            self.before = await self._before(ctx, [*touched, *sample])
        await ctx.shape(self.shapes)

    async def _before(self, ctx: FaultContext, links: Sequence[Link]) -> Look:
        for again in range(TRIES_BEFORE):
            seen = await self._look(ctx, links)
            if not seen.unsteady and (again >= TRIES or self.is_clear(seen)):
                break
            await ctx.clock.sleep(PAUSE)
        return seen

    async def prove(self, ctx: FaultContext) -> Proof:
        if self.before is None:
            return Proof(None, {"unproven": "it was not seen how links were before"})
        for _ in range(TRIES):
            now = await self._look(ctx, self.before.seen)
            proof = self.judge(ctx, self.before, now)
            if proof.holds or (proof.holds is None and not now.unsteady):
                break
            await ctx.clock.sleep(PAUSE)
        by = " and ".join(sorted(ctx.mechanisms(self.shapes.values())))
        return Proof(proof.holds, {MECHANISM: by, **proof.seen} if by else proof.seen)

    async def heal(self, ctx: FaultContext) -> None:
        await ctx.shape({})

    async def prove_healed(self, ctx: FaultContext) -> Proof:
        if self.before is None:
            return Proof(True, {"healed": "nothing had been done to any link"})
        until = ctx.clock.now() + self.config.healed_within
        while True:
            now = await self._look(ctx, self.before.seen)
            proof = self.judge_healed(self.before, now)
            if proof.holds or (proof.holds is None and not now.unsteady) or ctx.clock.now() >= until:
                return proof
            await ctx.clock.sleep(PAUSE)

    def dials(self) -> int:
        """How often each link is dialled in a look."""
        return 1

    def patience(self) -> float:
        """Seconds that a dial may take while this holds."""
        return self.config.patience

    async def _look(self, ctx: FaultContext, links: Iterable[Link]) -> Look:
        return await look(ctx, links, self.patience(), self.dials(), self.at_once)


def _carrying(shapes: Collection[Flow], links: Iterable[Link]) -> list[Link]:
    """Links to whose traffic something is done, one way at least."""
    return [link for link in links if any(flow in shapes for flow in both_ways(link))]
