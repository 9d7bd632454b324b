"""Where a plan is going to: a deployer, set up, and the hosts of an inventory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from harness.engine.placement import place
from harness.engine.plan import Plan
from harness.errors import PluginLoadError, Problem, SpecError, UnknownPluginError
from harness.plugin.contract.deployer import Deployer, PlannedNode
from harness.plugin.discovery import Kind
from harness.plugin.registry import Registry
from harness.spec.deployer_choice import deployer_use
from harness.spec.inventory import Inventory
from harness.spec.model import SourceRef
from harness.spec.problems import resolve_options


@dataclass(frozen=True, slots=True)
class Target:
    """A deployer and an inventory, with `--limit` and `-e` applied when nodes are placed."""

    deployer: Deployer[Any]
    inventory: Inventory
    limit: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def place(self, plan: Plan) -> tuple[PlannedNode, ...]:
        return place(plan, self.inventory, limit=self.limit, extra=self.extra)

    async def check(self, plan: Plan) -> tuple[PlannedNode, ...]:
        """Place the nodes and see whether the machines can do what the plan needs; touches nothing.

        Raises SpecError with everything that stands in the way."""
        nodes = self.place(plan)
        missing = [
            f"{', '.join(who)} needs {capability}, which the deployer {self.deployer.name} does not offer here"
            for capability, who in plan.machine_needs.items()
            if capability not in self.deployer.offered()
        ]
        complaints = [*missing, *await self.deployer.check(nodes)]
        if complaints:
            raise SpecError(map(self._placed, complaints))
        return nodes

    def _placed(self, complaint: str) -> Problem:
        """At the host that it names, else in the inventory as a whole."""
        named = next((host for host in self.inventory.hosts if f"host {host} " in complaint), None)
        where = self.inventory.where(named) if named else SourceRef(self.inventory.source)
        return Problem(where.file, where.line, where.column, "", complaint)


def choose_target(
    registry: Registry,
    inventory: Inventory,
    *,
    deployer: str = "",
    options: Mapping[str, Any] | None = None,
    limit: str = "",
    extra: Mapping[str, Any] | None = None,
) -> Target:
    """The deployer that the inventory names (or `deployer`), with its options checked.

    Raises SpecError for what the inventory says, UnknownPluginError or PluginLoadError for `deployer`."""
    use = deployer_use(inventory, extra)
    try:
        cls = registry.get(Kind.DEPLOYER, deployer or use.use)
    except (UnknownPluginError, PluginLoadError) as error:
        if deployer:
            raise
        raise SpecError([Problem(use.where.file, use.where.line, use.where.column, "", str(error))]) from None
    chosen = replace(use, options={**(use.options if cls.name == use.use else {}), **(options or {})})
    return Target(cls(resolve_options(chosen, cls.Config, inventory.document)), inventory, limit, extra or {})
