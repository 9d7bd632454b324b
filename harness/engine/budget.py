"""The fault budget: no more voting power down at once than the chain tolerates."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction

from harness.engine.plan import Plan
from harness.plugin.contract.chain import Network


@dataclass(frozen=True, slots=True)
class FaultBudget:
    """`powers`: each node's voting power; `others` is that of members which are no nodes of this run. `tolerance`: the
    share that the power of all nodes that are down must stay *below*. Nodes without power are not limited."""

    powers: Mapping[str, int]
    tolerance: Fraction
    unlimited: bool = False
    others: int = 0

    @property
    def total(self) -> int:
        return sum(self.powers.values()) + self.others

    def allows(self, down: Collection[str]) -> bool:
        """Whether these nodes may all be down at once."""
        lost = sum(self.powers.get(node, 0) for node in set(down))
        return self.unlimited or lost == 0 or Fraction(lost, self.total) < self.tolerance

    def __str__(self) -> str:
        if self.unlimited:
            return "unlimited"
        return f"less than {self.tolerance} of the voting power ({self.total}) down at once"


def budget_of(plan: Plan, network: Network) -> FaultBudget:
    """The budget of a plan's network: its nodes' powers, its chain's tolerance, unless the playbook lifts it."""
    powers = {node.name: network.power(node) for node in plan.topology.nodes}
    return FaultBudget(powers, plan.chain.tolerance, plan.playbook.budget == "unlimited", network.other_power)
