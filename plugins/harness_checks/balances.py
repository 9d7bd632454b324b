"""The expectation `balances-conserved`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
from pydantic import Field

from harness.api import (
    Capability,
    ChainClient,
    Config,
    Context,
    Expectation,
    Judgement,
    Node,
    Span,
    Unreachable,
    Unsupported,
    Verdict,
)
from harness_checks.accounts import last_inclusions
from harness_checks.subjects import should_be_up

SHOWN = 10  # differing wallets of a node in the evidence


class BalancesConfig(Config):
    """Options of `balances-conserved`."""

    patience: Span = Field(
        Span(20, "blocks"), description="how long nodes may take after the drive to agree on what was included"
    )


@dataclass(slots=True)
class _Reading:
    """All wallets on all nodes, read at about one time. `stable`: nothing was included meanwhile. `heads` are the
    heights of the nodes before they were asked; `due` is the highest block with a transaction in it. `supplies` are the
    sums of all balances, of those of no wallet too, where a node lists them; `negative` those below 0."""

    stable: bool
    expected: Mapping[str, int]
    due: int = -1
    heads: dict[str, int] = field(default_factory=dict)
    found: dict[str, dict[str, int]] = field(default_factory=dict)
    supplies: dict[str, int] = field(default_factory=dict)
    negative: dict[str, dict[str, int]] = field(default_factory=dict)
    unasked: dict[str, str] = field(default_factory=dict)

    def differences(self, node: str) -> dict[str, tuple[int, int]]:
        """By address: (expected, found), where they differ."""
        return {
            address: (self.expected[address], balance)
            for address, balance in self.found[node].items()
            if balance != self.expected[address]
        }

    @property
    def agrees(self) -> bool:
        return self.stable and not self.unasked and not any(self.differences(node) for node in self.found)


class BalancesConserved(Expectation[BalancesConfig]):
    """Every wallet has, on every node, its initial balance plus what the included transactions did to it, fees
    included; no balance is negative, and all of them together, those that take the fees too, come to what they always
    came to (where the chain's supply is constant and its nodes list all balances).

    What was included is taken from the blocks that the feed saw, whatever answer the sender had got: a transaction
    that timed out and is in a canonical block counts. Nodes are read again, block by block, until they agree or
    `patience` is over. Unknown where a node could not be asked, has not come as far as the last block with a
    transaction in it (which liveness judges), the transactions of some block could not be read, or it never came
    out whether one is canonical."""

    name = "balances-conserved"
    Config = BalancesConfig

    def requires(self) -> frozenset[Capability]:
        return frozenset({Capability.TRANSFERS, Capability.BALANCES})

    async def evaluate(self, ctx: Context) -> Judgement:
        wallets = ctx.network.wallets
        asked = f"initial balance and included transfers, for {len(wallets)} wallets on every node"
        nodes, left_out = should_be_up(ctx)
        if not wallets or not nodes:
            missing = "wallets" if nodes else "node was up"
            return Judgement(Verdict.UNKNOWN, f"no {missing} to ask", asked, {"left_out": left_out})
        patience = self.config.patience.seconds(ctx.block_interval)
        await last_inclusions(ctx, list(ctx.trackers().values()), patience)
        reading = await self._read_until_agreed(ctx, nodes, patience)
        supply = ctx.network.supply
        differing = {node: diff for node in reading.found if (diff := reading.differences(node))}
        wrong = {node: diff for node, diff in differing.items() if reading.heads[node] >= reading.due}
        evidence: dict[str, Any] = {
            "wallets": len(wallets),
            "nodes": sorted(reading.found),
            "could_not_be_asked": reading.unasked,
            "left_out": left_out,
            "expected_total": sum(reading.expected.values()),
            "found_totals": {node: sum(balances.values()) for node, balances in reading.found.items()},
            "supply": supply,
            "supplies_found": reading.supplies,
            "negative": {node: dict(list(those.items())[:SHOWN]) for node, those in reading.negative.items()},
            "differing": {
                node: {a: {"expected": e, "found": f} for a, (e, f) in list(diff.items())[:SHOWN]}
                for node, diff in differing.items()
            },
            "heads": reading.heads,
            "highest_included": reading.due,
        }
        if line := _impossible(reading, supply):
            return Judgement(Verdict.FAIL, line, asked, evidence)
        if not reading.stable:
            return Judgement(
                Verdict.UNKNOWN, "transactions kept being included while balances were read", asked, evidence
            )
        if wrong:
            node, diff = next(iter(wrong.items()))
            address, (expected, found) = next(iter(diff.items()))
            measured = (
                f"{address[:16]} has {found} on {node}, not {expected} ({len(diff)} wallets, {len(wrong)} nodes differ)"
            )
            if doubt := _not_known(ctx):
                return Judgement(Verdict.UNKNOWN, f"{measured}; {doubt}", asked, evidence)
            return Judgement(Verdict.FAIL, measured, asked, evidence)
        if differing:
            node = next(iter(differing))
            behind = f"{node} is at block {reading.heads[node]}, and transactions were included up to {reading.due}"
            return Judgement(Verdict.UNKNOWN, behind, asked, evidence)
        if reading.unasked:
            node, error = next(iter(reading.unasked.items()))
            return Judgement(Verdict.UNKNOWN, f"{node} could not be asked: {error}", asked, evidence)
        measured = f"{len(wallets)} wallets right on {len(nodes)} nodes"
        if supply is not None and reading.supplies:
            measured += f", supply {supply}"
        return Judgement(Verdict.PASS, measured, asked, evidence)

    async def _read_until_agreed(self, ctx: Context, nodes: Sequence[Node], patience: float) -> _Reading:
        give_up = ctx.clock.now() + patience
        while True:
            height = ctx.feed.highest
            reading = await self._read(ctx, nodes)
            left = give_up - ctx.clock.now()
            if reading.agrees or left <= 0:
                return reading
            await ctx.feed.wait_height(height + 1, all_nodes=False, timeout=left)

    async def _read(self, ctx: Context, nodes: Sequence[Node]) -> _Reading:
        before = _effects(ctx)
        due = max((tracker.highest_included for tracker in ctx.trackers().values()), default=-1)
        reading = _Reading(False, {}, due)
        async with anyio.create_task_group() as tasks:
            for node in nodes:
                tasks.start_soon(self._read_node, ctx, node, reading)
        reading.stable = _effects(ctx) == before
        reading.expected = {wallet.address: wallet.balance + before[wallet.address] for wallet in ctx.network.wallets}
        return reading

    async def _read_node(self, ctx: Context, node: Node, reading: _Reading) -> None:
        client = node.client()
        try:
            head = await client.head()
            everything = await _all_balances(client)
            if everything is None:
                balances = {wallet.address: await client.balance(wallet.address) for wallet in ctx.network.wallets}
            else:
                balances = {wallet.address: everything.get(wallet.address, 0) for wallet in ctx.network.wallets}
                reading.supplies[node.name] = sum(everything.values())
        except Unreachable as error:
            reading.unasked[node.name] = str(error)
            return
        reading.found[node.name], reading.heads[node.name] = balances, head.height
        if below := {address: balance for address, balance in (everything or balances).items() if balance < 0}:
            reading.negative[node.name] = below


async def _all_balances(client: ChainClient) -> Mapping[str, int] | None:
    """None where the chain does not list them."""
    try:
        return await client.balances()
    except Unsupported:
        return None


def _impossible(reading: _Reading, supply: int | None) -> str:
    """What is wrong whatever was included, "" where nothing is."""
    for node, below in reading.negative.items():
        address, balance = next(iter(below.items()))
        return f"{address[:16]} has {balance} on {node} ({sum(map(len, reading.negative.values()))} below 0)"
    for node, total in reading.supplies.items():
        if supply is not None and total != supply:
            created = f"{total - supply} created" if total > supply else f"{supply - total} lost"
            return f"all balances on {node} come to {total}, not {supply}: {created}"
    return ""


def _not_known(ctx: Context) -> str:
    """Why what was included is not all known, "" where it is."""
    if missing := ctx.feed.bodies_missing:
        return f"the transactions of {missing} blocks could not be read"
    if unknown := sum(tracker.unknown_inclusions for tracker in ctx.trackers().values()):
        return f"of {unknown} transactions it never came out whether their block is canonical"
    return ""


def _effects(ctx: Context) -> Counter[str]:
    """What is in canonical blocks, of all workloads together, by address."""
    total: Counter[str] = Counter()
    for tracker in ctx.trackers().values():
        total.update(tracker.effects())
    return total
