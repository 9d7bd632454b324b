"""The expectation `no-forks`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.api import (
    BlockFeed,
    BlockSeen,
    Conflict,
    Context,
    Expectation,
    Judgement,
    NoConfig,
    Verdict,
    Violation,
)
from harness_checks.subjects import should_be_up

SHOWN = 20  # conflicts in the evidence
LEAST_COMPARED = 0.9
"""Share of the final heights that two nodes or more must have shown; one height may always be the newest."""
PATIENCE = 5
"""Block intervals that nodes get to show what the highest has shown already."""


class NoForks(Expectation[NoConfig]):
    """No two nodes ever have different final blocks at one height, and no node replaces a final block of its own.

    A block is final on a node when as many blocks as the chain's finality depth stand on it. Every height that
    the feed has seen counts, those before the drive too. A fork is reported when it is seen, not at the end.
    Unknown when a node that should be up has shown no final block, when fewer than 90 % of the final heights were
    seen at two nodes (at the one, in a network of one), or when there were too many to keep until they could be
    compared."""

    name = "no-forks"

    def __init__(self, config: NoConfig) -> None:
        super().__init__(config)
        self._told = 0

    def observe_block(self, ctx: Context, seen: BlockSeen) -> Violation | None:
        """One violation for a burst of conflicts: a fork differs at every height from where it began."""
        feed = ctx.feed
        if feed.conflict_count == self._told:
            return None
        first = feed.conflicts[min(self._told, len(feed.conflicts) - 1)]
        quiet, self._told = self._told > 0, feed.conflict_count
        return None if quiet else Violation(str(first), _evidence(first))

    async def evaluate(self, ctx: Context) -> Judgement:
        feed, asked = ctx.feed, "no two nodes with different final blocks"
        ledger = feed.finality
        judged, left_out = should_be_up(ctx)
        names = [node.name for node in judged]
        await feed.wait_height(feed.highest, nodes=names, timeout=PATIENCE * ctx.block_interval)
        evidence: dict[str, Any] = {
            "finality_depth": feed.finality_depth,
            "highest_final": ledger.highest,
            "lowest_final": ledger.lowest,
            "heights_compared": ledger.compared,
            "never_compared": ledger.uncompared,
            "final_blocks_seen": dict(ledger.witnessed),
            "left_out": left_out,
            "reorganisations": {name: view.reorganisations for name, view in feed.nodes.items()},
        }
        if feed.conflict_count:
            first = min(feed.conflicts, key=lambda conflict: (conflict.height, conflict.at))
            evidence["conflicts"] = [_evidence(conflict) for conflict in feed.conflicts[:SHOWN]]
            evidence["conflict_count"] = feed.conflict_count
            return Judgement(Verdict.FAIL, f"{first} ({feed.conflict_count} in all)", asked, evidence)
        alone = len(ctx.nodes) == 1
        if doubt := _too_little(feed, names, alone):
            return Judgement(Verdict.UNKNOWN, doubt, asked, evidence)
        own = sum(ledger.witnessed.values())
        measured = f"none of {own} final blocks replaced" if alone else f"{ledger.compared} heights compared, all alike"
        return Judgement(Verdict.PASS, measured, asked, evidence)


def _too_little(feed: BlockFeed, judged: Sequence[str], alone: bool) -> str:
    """Why what was seen does not suffice to say that there was no fork, "" if it does."""
    ledger = feed.finality
    if ledger.highest < 0:
        return "no final block was seen"
    if silent := [name for name in judged if not ledger.witnessed.get(name)]:
        more = f" (and {len(silent) - 1} more nodes)" if len(silent) > 1 else ""
        return f"{silent[0]}{more} showed no final block"
    if ledger.uncompared:
        return f"{ledger.uncompared} final blocks could not be kept until another node had shown theirs"
    heights = ledger.highest - ledger.lowest + 1
    enough = heights - max(1, (1 - LEAST_COMPARED) * heights)
    if not alone and ledger.compared < max(1, enough):
        return f"{ledger.compared} of {heights} final heights were seen at two nodes or more"
    return ""


def _evidence(conflict: Conflict) -> dict[str, Any]:
    return {
        "height": conflict.height,
        "blocks": {hash: list(nodes) for hash, nodes in conflict.blocks.items()},
        "reverted_by": conflict.reverted_by,
        "at": conflict.at,
    }
