"""Which node goes to which host of the inventory. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.engine.plan import Plan
from harness.errors import UsageError
from harness.plugin.contract.deployer import HostSpec, PlannedNode
from harness.spec.inventory import Inventory


def place(
    plan: Plan,
    inventory: Inventory,
    *,
    limit: str = "",
    extra: Mapping[str, Any] | None = None,
    partly: bool = False,
) -> tuple[PlannedNode, ...]:
    """Deal each role's nodes out, in order, over the hosts of the group named like the role (`validators` or
    `validator`); a role without a group goes to the group `nodes`, without that to all hosts.

    `limit` is a host pattern that hosts must match too. Raises UsageError when a role is left without hosts; with
    `partly`, when all are."""
    allowed = set(inventory.select(limit)) if limit else None
    hosts: dict[str, HostSpec] = {}
    planned = []
    for node in plan.topology.nodes:
        names = [name for name in _hosts_for(node.role, inventory) if allowed is None or name in allowed]
        if not names and partly:
            continue
        if not names:
            within = f' within --limit "{limit}"' if limit else ""
            raise UsageError(
                f"{inventory.source}: no host for role {node.role}{within}; "
                f"add hosts to the group [{node.role}s] or [nodes]"
            )
        name = names[node.index % len(names)]
        if name not in hosts:
            hosts[name] = host_spec(inventory, name, extra)
        info = plan.chain.roles[node.role]
        planned.append(PlannedNode(node, hosts[name], info.ports, info.peer_port))
    if not planned:
        raise UsageError(f'{inventory.source}: no role of the playbook has hosts within --limit "{limit}"')
    return tuple(planned)


def host_spec(inventory: Inventory, name: str, extra: Mapping[str, Any] | None = None) -> HostSpec:
    """A host of the inventory as deployers are told of it. Raises UsageError when there is none of this name."""
    variables = inventory.variables(name, extra)
    return HostSpec(name, {k: o.value for k, o in variables.items()}, {k: o.where for k, o in variables.items()})


def _hosts_for(role: str, inventory: Inventory) -> Sequence[str]:
    for group in (f"{role}s", role, "nodes"):
        if group in inventory.groups:
            return inventory.select(group)
    return inventory.select("all")
