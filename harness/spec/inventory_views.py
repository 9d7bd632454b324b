"""An inventory as `harness inventory list` and `graph` show it, and as `ansible-inventory` would."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.errors import Problem, UsageError
from harness.spec.host_problems import host_problems
from harness.spec.inventory import Inventory
from harness.spec.problems import known_hint, shown


def as_list(inventory: Inventory, extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The shape of `ansible-inventory --list`: each group's own hosts and children, `_meta.hostvars` with every
    host's variables resolved. Groups with neither hosts nor children are left out."""
    hostvars = {
        host: {name: origin.value for name, origin in inventory.variables(host, extra).items()}
        for host in inventory.hosts
    }
    listed: dict[str, Any] = {"_meta": {"hostvars": {host: table for host, table in hostvars.items() if table}}}
    for name, group in inventory.groups.items():
        entry = {"children": list(group.children), "hosts": list(group.hosts)}
        if kept := {key: names for key, names in entry.items() if names}:
            listed[name] = kept
    return listed


def problems_of(inventory: Inventory, host: str, extra: Mapping[str, Any] | None = None) -> list[Problem]:
    """What is wrong with what is said of a host, whatever is to run there."""
    origins = inventory.variables(host, extra)
    values = {name: origin.value for name, origin in origins.items()}
    return host_problems(host, values, {name: origin.where for name, origin in origins.items()})


def as_graph(inventory: Inventory, group: str = "all", *, variables: bool = False) -> list[str]:
    """The lines of `ansible-inventory --graph [--vars]`. Raises UsageError for a group that is not there."""
    if group not in inventory.groups:
        known = known_hint(group, list(inventory.groups), "groups")
        raise UsageError(f'{inventory.source}: no group "{group}"; {known}')
    return list(_branch(inventory, group, 0, variables))


def _branch(inventory: Inventory, name: str, depth: int, variables: bool) -> Iterator[str]:
    group = inventory.groups[name]
    yield _twig(f"@{name}:", depth)
    for child in group.children:
        yield from _branch(inventory, child, depth + 1, variables)
    for host in group.hosts:
        yield _twig(host, depth + 1)
        if variables:
            for key, origin in sorted(inventory.variables(host).items()):
                yield _twig(f"{{{key} = {shown(origin.value)}}}", depth + 2)
    if variables:
        for key, written in sorted(group.vars.items()):
            yield _twig(f"{{{key} = {shown(written.value)}}}", depth + 1)


def _twig(text: str, depth: int) -> str:
    return "  |" * depth + f"--{text}" if depth else text
