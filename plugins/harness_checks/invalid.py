"""The expectations `rejects-invalid` and `invalid-never-included`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from pydantic import Field

from harness.api import (
    Block,
    BlockHeader,
    Config,
    Context,
    Expectation,
    Judgement,
    NodeState,
    Span,
    Summary,
    Verdict,
    Violation,
)
from harness_checks.accounts import matching
from harness_checks.subjects import should_be_up

SHOWN = 10
"""Inclusions in the evidence."""


class RejectsConfig(Config):
    """Options of `rejects-invalid`."""

    trackers: str = Field("invalid:*", description="glob of the records of submissions that are judged")


class RejectsInvalid(Expectation[RejectsConfig]):
    """Every transaction that a node must refuse was refused, with a reason, and every node stayed up.

    An acceptance fails it, and so does a broken answer (an internal error, or none of the API's own) and a node that
    ended of itself. What was sent to a node under a fault is held against nobody. Unknown when nothing was refused,
    when a node that should answer did not, twice, or when none was sent of a kind that the workload's `mix` names. A
    violation is seen during the run, where it is `continuous`."""

    name = "rejects-invalid"
    Config = RejectsConfig

    async def watch(self, ctx: Context) -> Violation | None:
        """One that was not refused as it should be."""
        summaries = [tracker.summary() for tracker in matching(ctx, self.config.trackers).values()]
        kinds = _kinds(summaries)
        verdict, measured = _judge(kinds, _ended(ctx), summaries)
        return Violation(measured, {"kinds": kinds}) if verdict is Verdict.FAIL else None

    async def evaluate(self, ctx: Context) -> Judgement:
        trackers = matching(ctx, self.config.trackers)
        asked = "every invalid transaction refused with a reason, all nodes up"
        summaries = {name: tracker.summary() for name, tracker in trackers.items()}
        kinds, ended = _kinds(summaries.values()), _ended(ctx)
        evidence: dict[str, Any] = {
            "kinds": kinds,
            "ended": ended,
            "reasons": {name: dict(summary.reasons) for name, summary in summaries.items()},
            "kept_in": str(ctx.run_dir / "invalid"),
        }
        verdict, measured = _judge(kinds, ended, list(summaries.values()))
        return Judgement(verdict, measured, asked, evidence)


def _kinds(summaries: Iterable[Summary]) -> dict[str, dict[str, int]]:
    """What came of how many, by kind."""
    found = Counter[str]()
    for summary in summaries:
        found.update(summary.marks)
    kinds: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for mark, number in sorted(found.items()):
        kind, _, what = mark.rpartition(" ")
        kinds[kind][what] = number
    return dict(kinds)


def _ended(ctx: Context) -> list[str]:
    return [node.name for node in ctx.nodes.values() if node.state is NodeState.EXITED]


def _judge(kinds: dict[str, dict[str, int]], ended: list[str], summaries: list[Summary]) -> tuple[Verdict, str]:
    for what, said in (("accepted", "accepted"), ("broken", "answered with an error of the node's own")):
        if those := {kind: counts[what] for kind, counts in kinds.items() if what in counts}:
            return Verdict.FAIL, f"{_listed(those)} {said}"
    if ended:
        return Verdict.FAIL, f"{', '.join(ended)} ended"
    if those := {kind: counts["unexplained"] for kind, counts in kinds.items() if "unexplained" in counts}:
        return Verdict.FAIL, f"{_listed(those)} refused without a reason"
    if those := {kind: counts["unanswered"] for kind, counts in kinds.items() if "unanswered" in counts}:
        return Verdict.UNKNOWN, f"{_listed(those)} got no answer"
    rejected = {kind: counts["rejected"] for kind, counts in kinds.items() if "rejected" in counts}
    if not rejected:
        sent = sum(summary.offered - summary.dropped for summary in summaries)
        return Verdict.UNKNOWN, f"no node answered any of {sent}" if sent else "nothing invalid was sent"
    if unsent := [kind for kind, counts in kinds.items() if "unsent" in counts]:
        return Verdict.UNKNOWN, f"the drive was over before any {' or '.join(unsent)} could be sent"
    if cut := sum(summary.unresolved for summary in summaries):
        return Verdict.UNKNOWN, f"{cut} were cut off before any node had answered"
    left_out = [kind for kind, counts in kinds.items() if "left-out" in counts]
    but = f", no {' or '.join(left_out)} sent" if left_out else ""
    return Verdict.PASS, f"{sum(rejected.values())} of {len(rejected)} kinds refused{but}"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {kind}" for kind, number in counts.items())


class NeverConfig(Config):
    """Options of `invalid-never-included`."""

    patience: Span = Field(Span(5, "blocks"), description="how long after the drive blocks are still looked through")


class InvalidNeverIncluded(Expectation[NeverConfig]):
    """No block of any node holds a transaction that must be refused, orphaned blocks included; and one that was sent
    again is in no chain twice.

    Every block that the feed sees, from the beginning of the drive through settling, is looked through. Unknown when
    the transactions of some block could not be read, when nothing invalid was sent that a block could hold, or when a
    node that should be up has shown no block since the end of the drive."""

    name = "invalid-never-included"
    Config = NeverConfig

    def __init__(self, config: NeverConfig) -> None:
        super().__init__(config)
        self._parents: dict[str, str] = {}
        self._sightings: dict[str, list[tuple[BlockHeader, str]]] = {}
        self._watched: set[str] = set()
        self._twice: dict[str, str] = {}

    async def capture(self, ctx: Context) -> None:
        unwanted = ctx.network.unwanted

        def look(block: Block, node: str, at: float) -> None:
            header = block.header
            self._parents[header.hash] = header.parent
            for id, times in Counter(block.tx_ids).items():
                if id in unwanted:
                    self._sightings.setdefault(id, []).append((header, node))
                    if times > 1:
                        self._twice[id] = header.hash

        ctx.feed.on_body(look)

    async def watch(self, ctx: Context) -> Violation | None:
        """One that is in a block."""
        if not (included := self._included(ctx)):
            return None
        return Violation(_told(included), {"included": _shown(included)})

    def _included(self, ctx: Context) -> dict[str, list[tuple[BlockHeader, str]]]:
        unwanted = ctx.network.unwanted
        return {id: seen for id, seen in self._sightings.items() if self._too_often(id, unwanted.get(id, 0))}

    async def evaluate(self, ctx: Context) -> Judgement:
        asked = "no invalid transaction in any block, and none twice in one chain"
        feed, unwanted = ctx.feed, ctx.network.unwanted
        nodes, left_out = should_be_up(ctx)
        names = [node.name for node in nodes]
        patience = self.config.patience.seconds(ctx.block_interval)
        await feed.wait_height(feed.highest, nodes=names, timeout=patience)
        await feed.wait(lambda: not feed.bodies_missing, patience)
        included = self._included(ctx)
        evidence: dict[str, Any] = {
            "looked_for": len(unwanted),
            "blocks": len(self._parents),
            "bodies_missing": feed.bodies_missing,
            "left_out": left_out,
            "included": _shown(included),
        }
        if included:
            return Judgement(Verdict.FAIL, _told(included), asked, evidence)
        if not unwanted:
            return Judgement(Verdict.UNKNOWN, "nothing was sent that a block could hold", asked, evidence)
        if feed.bodies_missing or not self._parents:
            missing = f"the transactions of {feed.bodies_missing} blocks could not be read"
            measured = missing if feed.bodies_missing else "no block was seen"
            return Judgement(Verdict.UNKNOWN, measured, asked, evidence)
        silent = [name for name in names if not (view := feed.nodes.get(name)) or not view.connected]
        if silent:
            return Judgement(Verdict.UNKNOWN, f"the blocks of {silent[0]} could not be seen", asked, evidence)
        measured = f"none of {len(unwanted)} in {len(self._parents)} blocks"
        return Judgement(Verdict.PASS, measured, asked, evidence)

    def _too_often(self, id: str, allowed: int) -> bool:
        """Whether it is in one chain more often than that. Of one that is allowed none, any sighting is too often."""
        seen = self._sightings[id]
        if not allowed or id in self._twice:
            return True
        blocks = {header.hash: header for header, _ in seen}
        return any(self._above(header, blocks) >= allowed for header in blocks.values())

    def _above(self, header: BlockHeader, blocks: dict[str, BlockHeader]) -> int:
        """How many of these blocks are among the ancestors of one of them."""
        if len(blocks) < 2:
            return 0
        lowest = min(other.height for other in blocks.values())
        found, hash = 0, self._parents.get(header.hash)
        for _ in range(header.height - lowest):
            if hash is None:
                break
            found += hash in blocks
            hash = self._parents.get(hash)
        return found


def _told(included: dict[str, list[tuple[BlockHeader, str]]]) -> str:
    id, seen = next(iter(included.items()))
    header, node = seen[-1]
    return f"{len(included)} included: {id[:16]} in block {header.height} of {node}"


def _shown(included: dict[str, list[tuple[BlockHeader, str]]]) -> dict[str, list[dict[str, Any]]]:
    return {
        id: [{"height": header.height, "block": header.hash, "node": node} for header, node in seen[:SHOWN]]
        for id, seen in list(included.items())[:SHOWN]
    }
