"""The expectation `safety`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.api import BlockSeen, Context, Judgement, NoConfig, Verdict, Violation
from harness_checks.forks import NoForks

KEPT = 50_000
"""Blocks, the newest, among which a second one of the same proposer is looked for."""
SHOWN = 20


class Safety(NoForks):
    """What `no-forks` asks, and no proposer signed two blocks for one moment.

    Signed twice: two different blocks of one proposer at one height whose headers give the same time, seen on best
    chains of any nodes. On a chain of slots that time is the slot; a proposer who builds a block again at a later
    moment, on another fork, is no double signer. Signed twice has also whom the evidence in a block is against, where
    the chain puts such into its blocks, as CometBFT does: there it may be any vote.
    Blocks that are on no node's best chain are not seen, and proposers neither where the chain does not name them: the
    evidence says how many blocks were looked at."""

    name = "safety"

    def __init__(self, config: NoConfig) -> None:
        super().__init__(config)
        self._signed: dict[tuple[str, int, float], tuple[str, str]] = {}
        self._looked_at = 0
        self._twice: dict[tuple[str, int, float], dict[str, Any]] = {}
        self._accused: dict[str, dict[str, Any]] = {}

    def observe_block(self, ctx: Context, seen: BlockSeen) -> Violation | None:
        seen_now = [super().observe_block(ctx, seen), self._accuse(seen), self._compare(seen)]
        return next((violation for violation in seen_now if violation is not None), None)

    def _accuse(self, seen: BlockSeen) -> Violation | None:
        """Note whom a block's evidence is against; one violation for each."""
        new = [name for name in seen.header.accused if name not in self._accused]
        for name in new:
            self._accused[name] = {
                "signer": name, "block": seen.header.hash, "height": seen.header.height, "node": seen.node,
            }  # fmt: skip
        return Violation(_charged(self._accused[new[0]]), self._accused[new[0]]) if new else None

    def _compare(self, seen: BlockSeen) -> Violation | None:
        header = seen.header
        if not header.proposer or header.height <= 0:
            return None
        key = (header.proposer, header.height, header.time)
        first = self._signed.get(key)
        if first is None:
            self._looked_at += 1
            self._signed[key] = (header.hash, seen.node)
            if len(self._signed) > KEPT:
                del self._signed[next(iter(self._signed))]
        elif first[0] != header.hash and key not in self._twice and len(self._twice) < KEPT:
            evidence = {
                "proposer": header.proposer,
                "height": header.height,
                "time": header.time,
                "blocks": {first[0]: first[1], header.hash: seen.node},
            }
            self._twice[key] = evidence
            return Violation(_told(evidence), evidence)
        return None

    async def evaluate(self, ctx: Context) -> Judgement:
        judgement = await super().evaluate(ctx)
        asked = f"{judgement.asked}, nobody signs twice"
        evidence = {
            **judgement.evidence,
            "signed_twice": list(self._twice.values())[:SHOWN],
            "accused": list(self._accused.values())[:SHOWN],
            "blocks_with_proposer": self._looked_at,
        }
        if self._twice and judgement.verdict is not Verdict.FAIL:
            measured = f"{_told(next(iter(self._twice.values())))} ({len(self._twice)} in all)"
            return Judgement(Verdict.FAIL, measured, asked, evidence)
        if self._accused and judgement.verdict is not Verdict.FAIL:
            return Judgement(Verdict.FAIL, _charged(next(iter(self._accused.values()))), asked, evidence)
        measured = judgement.measured
        if judgement.verdict is Verdict.PASS:
            watched = f"none of {self._looked_at} blocks signed twice" if self._looked_at else "no proposers named"
            measured = f"{measured}; {watched}"
        return replace(judgement, measured=measured, asked=asked, evidence=evidence)


def _told(twice: dict[str, Any]) -> str:
    sides = " and ".join(f"{hash[:12]} on {node}" for hash, node in twice["blocks"].items())
    return f"{twice['proposer']} signed two blocks at height {twice['height']}: {sides}"


def _charged(accused: dict[str, Any]) -> str:
    return f"{accused['signer']} signed twice: the evidence is in block {accused['height']} of {accused['node']}"
