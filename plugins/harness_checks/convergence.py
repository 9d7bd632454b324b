"""The expectation `convergence`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from harness.api import (
    BlockSeen,
    Config,
    Context,
    Expectation,
    Judgement,
    Span,
    Verdict,
    Violation,
    format_duration,
)
from harness_checks.stretches import Stretch
from harness_checks.subjects import should_be_up


class ConvergenceConfig(Config):
    """Options of `convergence`."""

    within: Span = Field(Span(10, "blocks"), description="how long nodes may take from the last healing to one chain")


class Convergence(Expectation[ConvergenceConfig]):
    """After the last fault was healed, all nodes that should be up came to one chain in time.

    On one chain: all have the same block at some height that is at most the finality depth below the lowest head, and
    not below the highest block there was when the fault was healed: what they had in common before is not enough.
    Without faults only the former is asked. Forks while a partition lasts are legitimate. Final blocks that were
    reverted are counted in the evidence; that they are none is what `no-forks` asks.
    Unknown when a node cannot be asked."""

    name = "convergence"
    sees_violations = False
    Config = ConvergenceConfig

    def __init__(self, config: ConvergenceConfig) -> None:
        super().__init__(config)
        self._healed: float | None = None
        self._base = -1
        self._converged: float | None = None

    def observe_block(self, ctx: Context, seen: BlockSeen) -> Violation | None:
        self._look(ctx)
        return None

    def _look(self, ctx: Context) -> None:
        """Note a new healing, and the moment when nodes are first seen on one chain after it."""
        healed = max((record.healed_at for record in ctx.faults.history if record.healed_at is not None), default=None)
        if healed != self._healed:
            self._healed, self._base, self._converged = healed, ctx.feed.highest, None
        if self._healed is not None and self._converged is None:
            names = [node.name for node in should_be_up(ctx)[0]]
            if names and self._common(ctx, names) is not None:
                self._converged = ctx.clock.now()

    def _common(self, ctx: Context, names: Sequence[str]) -> int | None:
        """The highest height that proves them to be on one chain, None if there is none."""
        views = [view for name in names if (view := ctx.feed.nodes.get(name)) is not None and view.connected]
        if len(views) < len(names):
            return None
        lowest = min(view.height for view in views)
        for height in range(lowest, max(self._base, lowest - ctx.finality_depth, 0) - 1, -1):
            hashes = {view.chain.get(height, "") for view in views}
            if len(hashes) == 1 and "" not in hashes:
                return height
        return None

    async def evaluate(self, ctx: Context) -> Judgement:
        self._look(ctx)
        allowed = self.config.within.seconds(ctx.block_interval)
        asked = f"all nodes on one chain {self.config.within} after healing"
        judged, left_out = should_be_up(ctx)
        names = [node.name for node in judged]
        if not names:
            return Judgement(Verdict.UNKNOWN, "no node was up to be judged", asked, {"left_out": left_out})
        patience = max(allowed, (self._healed or 0.0) + allowed - ctx.clock.now())
        await ctx.feed.wait(lambda: self._common(ctx, names) is not None, patience)
        common = self._common(ctx, names)
        if common is not None and self._converged is None:
            self._converged = ctx.clock.now()
        evidence = self._evidence(ctx, names, common, left_out)
        if dumb := [name for name in names if name not in ctx.feed.nodes or not ctx.feed.nodes[name].connected]:
            return Judgement(Verdict.UNKNOWN, f"{dumb[0]} could not be asked", asked, evidence)
        if common is None:
            sides = " against ".join(
                f"{hash[:12] or 'nothing'} on {', '.join(who)}" for hash, who in evidence["branches"].items()
            )
            measured = f"not on one chain at height {evidence['at_height']}: {sides}"
            since = self._healed if self._healed is not None else ctx.window.start
            if _hidden(ctx, names, Stretch(since, ctx.clock.now()), allowed):
                return Judgement(Verdict.UNKNOWN, f"{measured}, not observed all along", asked, evidence)
            return Judgement(Verdict.FAIL, measured, asked, evidence)
        if self._healed is None or self._converged is None:
            return Judgement(Verdict.PASS, f"{len(names)} nodes on one chain at height {common}", asked, evidence)
        took = self._converged - self._healed
        measured = f"{len(names)} nodes on one chain {format_duration(took)} after healing"
        if took <= allowed:
            return Judgement(Verdict.PASS, measured, asked, evidence)
        if _hidden(ctx, names, Stretch(self._healed, self._converged), allowed):
            return Judgement(Verdict.UNKNOWN, f"{measured}, not observed all along", asked, evidence)
        return Judgement(Verdict.FAIL, measured, asked, evidence)

    def _evidence(
        self, ctx: Context, names: Sequence[str], common: int | None, left_out: dict[str, str]
    ) -> dict[str, Any]:
        views = {name: ctx.feed.nodes[name] for name in names if name in ctx.feed.nodes}
        at = common if common is not None else min((view.height for view in views.values()), default=-1)
        branches: dict[str, list[str]] = {}
        for name, view in views.items():
            branches.setdefault(view.chain.get(at, ""), []).append(name)
        return {
            "healed_at": self._healed,
            "highest_when_healed": self._base if self._healed is not None else None,
            "converged_at": self._converged,
            "at_height": at,
            "branches": branches,
            "heads": {name: {"height": view.height, "hash": view.hash} for name, view in views.items()},
            "reorganisations": {name: view.reorganisations for name, view in views.items()},
            "final_blocks_reverted": sum(bool(conflict.reverted_by) for conflict in ctx.feed.conflicts),
            "conflicts": [str(conflict) for conflict in ctx.feed.conflicts[:20]],
            "left_out": left_out,
        }


def _hidden(ctx: Context, names: Sequence[str], window: Stretch, allowed: float) -> bool:
    """Whether some node could be seen in it for less than is allowed; clocks are read to a millisecond at best."""
    return any(
        sum(part.seconds for part in window.without(Stretch(*span) for span in ctx.feed.unobserved(name)))
        < allowed - 1e-3
        for name in names
    )
