"""How much of the voting power there was at what time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from harness.api import Context
from harness_checks.stretches import Stretch, joined


class Power:
    """Voting power over time. `down` are the stretches in which a node took no part; `others` is the power of members
    of the network that are no nodes of this run."""

    def __init__(self, powers: Mapping[str, int], down: Mapping[str, Sequence[Stretch]], others: int = 0) -> None:
        self._total = sum(powers.values()) + others
        self._down = [(powers.get(node, 0), joined(stretches)) for node, stretches in down.items()]

    def share(self, during: Stretch) -> float:
        """The mean share of the power that was up."""
        if not self._total or during.seconds <= 0:
            return 1.0
        lost = sum(
            power * max(0.0, stretch.within(during).seconds) for power, stretches in self._down for stretch in stretches
        )
        return max(0.0, 1.0 - lost / (self._total * during.seconds))

    def short(self, tolerance: Fraction) -> list[Stretch]:
        """When the share that was down was not below the chain's tolerance, so that it promised nothing."""
        changes = [
            change
            for power, stretches in self._down
            for stretch in stretches
            for change in ((stretch.start, power), (stretch.end, -power))
        ]
        short: list[Stretch] = []
        lost, since = 0, 0.0
        for at, change in sorted(changes):
            if lost and Fraction(lost, self._total) >= tolerance:
                short.append(Stretch(since, at))
            lost, since = lost + change, at
        return joined(short)


def down(ctx: Context, node: str) -> list[Stretch]:
    """When a fault kept this node from taking part."""
    return [
        Stretch(record.injected_at, float("inf") if record.healed_at is None else record.healed_at)
        for record in ctx.faults.history
        if record.injected_at is not None and node in record.downs
    ]


def power_of(ctx: Context) -> Power:
    """The network's voting power over the run so far."""
    powers = {node.name: ctx.network.power(node.spec) for node in ctx.nodes.values()}
    return Power(powers, {name: down(ctx, name) for name in powers}, ctx.network.other_power)
