"""Which node goes to which host of the inventory. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any

from harness.engine.adoption import adoption_of
from harness.engine.plan import Plan
from harness.errors import Problem, SpecError, UsageError
from harness.plugin.contract.deployer import HostSpec, PlannedNode
from harness.record.text import counted
from harness.spec.inventory import Inventory
from harness.spec.manage import is_adopted
from harness.spec.topology import NodeSpec

LOAD = "load"
"""The group of hosts that load comes from."""
SENDER_PORT = "control"


def place(
    plan: Plan,
    inventory: Inventory,
    *,
    limit: str = "",
    extra: Mapping[str, Any] | None = None,
    partly: bool = False,
) -> tuple[PlannedNode, ...]:
    """Deal each role's nodes out, in order, over the hosts of the group named like the role (`validators` or
    `validator`); a role without a group goes to the group `nodes`, without that to all hosts but those of `load`.

    A host with `manage = "adopt"` holds one node, the one that runs there: each is dealt once.
    `limit` is a host pattern that hosts must match too. Raises UsageError when a role is left without hosts (with
    `partly`, when all are), or without adopted ones, or when some nodes are adopted and others are not; SpecError for
    what is wrong with the variables of hosts."""
    allowed = set(inventory.select(limit)) if limit else None
    spec = cache(partial(host_spec, inventory, extra=extra))
    taken: set[str] = set()
    dealt: Counter[tuple[str, ...]] = Counter()  # roles that share their hosts are dealt out one after the other
    problems: set[Problem] = set()
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
        name = names[dealt[tuple(names)] % len(names)]
        dealt[tuple(names)] += 1
        if is_adopted(spec(name).vars):
            free = [name for name in names if name not in taken]
            if not free:
                raise UsageError(_too_few(plan, inventory, node.role, names))
            name = free[0]
            taken.add(name)
        info, host = plan.chain.roles[node.role], spec(name)
        try:
            adoption = adoption_of(host, info)
        except SpecError as error:
            problems.update(error.problems)
            continue
        planned.append(PlannedNode(node, host, info.ports, info.peer_port, adoption))
    if problems:
        raise SpecError(problems)
    if not planned:
        raise UsageError(f'{inventory.source}: no role of the playbook has hosts within --limit "{limit}"')
    _check_all_alike(planned, inventory)
    return tuple(planned)


def place_senders(
    plan: Plan, inventory: Inventory, *, limit: str = "", extra: Mapping[str, Any] | None = None
) -> tuple[PlannedNode, ...]:
    """What sends load from each host of the group `load`; nothing where there is no such group, or where no workload of
    the plan sends. Raises UsageError."""
    if LOAD not in inventory.groups or not any(workload.cls.sends for workload in plan.workloads):
        return ()
    allowed = set(inventory.select(limit)) if limit else None
    hosts = [name for name in inventory.select(LOAD) if allowed is None or name in allowed]
    first = len(plan.topology.nodes)
    planned = []
    for index, name in enumerate(hosts):
        host = host_spec(inventory, name, extra)
        if is_adopted(host.vars):
            where = inventory.where(name)
            raise UsageError(
                f'{where}: {name} is in the group [{LOAD}] and has manage = "adopt": load is sent by what the harness '
                "brings there; take one of the two away"
            )
        spec = NodeSpec(f"{LOAD}-{index + 1}", LOAD, index, first + index)
        planned.append(PlannedNode(spec, host, (SENDER_PORT,), SENDER_PORT, sender=True))
    return tuple(planned)


def _too_few(plan: Plan, inventory: Inventory, role: str, names: Sequence[str]) -> str:
    asked = counted(len(plan.topology.with_role(role)), "node")
    return (
        f"{inventory.source}: the playbook asks for {asked} of the role {role}, and there are too few hosts to adopt "
        f"them on: {', '.join(names)}; each runs one. Write fewer in [topology], or add hosts"
    )


def _check_all_alike(planned: Sequence[PlannedNode], inventory: Inventory) -> None:
    """Half a network of ours and half of somebody else's would be none: their genesis files differ."""
    adopted = next((node for node in planned if node.adoption is not None), None)
    ours = next((node for node in planned if node.adoption is None), None)
    if adopted is not None and ours is not None:
        raise UsageError(
            f"{inventory.source}: {adopted.spec.name} is to be adopted on {adopted.host.name}, and {ours.spec.name} to "
            f"be deployed on {ours.host.name}: a run deploys its network or adopts one; choose hosts with --limit"
        )


def host_spec(inventory: Inventory, name: str, extra: Mapping[str, Any] | None = None) -> HostSpec:
    """A host of the inventory as deployers are told of it. Raises UsageError when there is none of this name."""
    variables = inventory.variables(name, extra)
    return HostSpec(name, {k: o.value for k, o in variables.items()}, {k: o.where for k, o in variables.items()})


def _hosts_for(role: str, inventory: Inventory) -> Sequence[str]:
    for group in (f"{role}s", role, "nodes"):
        if group in inventory.groups:
            return inventory.select(group)
    senders = inventory.select(LOAD) if LOAD in inventory.groups else ()
    return [name for name in inventory.select("all") if name not in senders]
