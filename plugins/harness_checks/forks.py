"""The expectation `no-forks`."""

from __future__ import annotations

from typing import Any

from harness.api import BlockSeen, Conflict, Context, Expectation, Judgement, NoConfig, Verdict, Violation

SHOWN = 20  # conflicts in the evidence


class NoForks(Expectation[NoConfig]):
    """No two nodes ever have different final blocks at one height, and no node replaces a final block of its own.

    A block is final on a node when as many blocks as the chain's finality depth stand on it. Every height that
    the feed has seen counts, those before the drive too. A fork is reported when it is seen, not at the end.
    Unknown when no final block was seen by two nodes (by the one, in a network of one)."""

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
        evidence: dict[str, Any] = {
            "finality_depth": feed.finality_depth,
            "highest_final": ledger.highest,
            "heights_compared": ledger.compared,
            "final_blocks_seen": dict(ledger.witnessed),
            "reorganisations": {name: view.reorganisations for name, view in feed.nodes.items()},
        }
        if feed.conflict_count:
            first = min(feed.conflicts, key=lambda conflict: (conflict.height, conflict.at))
            evidence["conflicts"] = [_evidence(conflict) for conflict in feed.conflicts[:SHOWN]]
            evidence["conflict_count"] = feed.conflict_count
            return Judgement(Verdict.FAIL, f"{first} ({feed.conflict_count} in all)", asked, evidence)
        alone = len(ctx.nodes) == 1
        if not (ledger.compared or (alone and ledger.highest >= 0)):
            return Judgement(Verdict.UNKNOWN, "no final block was seen by two nodes", asked, evidence)
        own = sum(ledger.witnessed.values())
        measured = f"none of {own} final blocks replaced" if alone else f"{ledger.compared} heights compared, all alike"
        return Judgement(Verdict.PASS, measured, asked, evidence)


def _evidence(conflict: Conflict) -> dict[str, Any]:
    return {
        "height": conflict.height,
        "blocks": {hash: list(nodes) for hash, nodes in conflict.blocks.items()},
        "reverted_by": conflict.reverted_by,
        "at": conflict.at,
    }
