"""Which deployer an inventory asks for, and with which options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.errors import UsageError
from harness.spec.inventory import Inventory, Origin
from harness.spec.model import PluginUse, SourceRef
from harness.spec.problems import shown

NAME = "harness_deployer"
OPTIONS = "harness_deployer_config"

_BY_CONNECTION = {
    "local": "process",
    "docker": "docker",
    "community.docker.docker": "docker",
    "ssh": "ssh",
    "smart": "ssh",
    "paramiko": "ssh",
}
"""Ansible's connection plugins, and the deployer that goes the same way."""


def deployer_name(inventory: Inventory, extra: Mapping[str, Any] | None = None) -> str:
    """The variable `harness_deployer`; else by `ansible_connection`; else `process`.

    Raises UsageError when hosts disagree: a run has one deployer."""
    return deployer_use(inventory, extra).use


def deployer_use(inventory: Inventory, extra: Mapping[str, Any] | None = None) -> PluginUse:
    """The deployer with its options, the table `harness_deployer_config`, as a playbook's `use` would give it: `where`
    is the place of its name, `path` that of its options.

    Raises UsageError when hosts disagree about either, or for values of the wrong kind."""
    variables = [inventory.variables(host, extra) for host in inventory.hosts]
    nowhere = Origin("process", "no variable says so", SourceRef(inventory.source))
    name = _agreed(inventory, NAME, [_named(of_host, nowhere) for of_host in variables] or [nowhere])
    none = Origin({}, "no variable says so", SourceRef(inventory.source))
    options = _agreed(inventory, OPTIONS, [of_host.get(OPTIONS, none) for of_host in variables] or [none])
    if not isinstance(options.value, Mapping):
        raise UsageError(f"{options.source}: {OPTIONS} must be a table, not {shown(options.value)}")
    where = options.where if options.value and not options.path else name.where  # options of -e have no path
    return PluginUse(name.value, name.value, options.value, where, options.path)


def _named(variables: Mapping[str, Origin], default: Origin) -> Origin:
    if named := variables.get(NAME):
        if not isinstance(named.value, str) or not named.value:
            raise UsageError(f"{named.source}: {NAME} must be a deployer's name, not {shown(named.value)}")
        return named
    connection = variables.get("ansible_connection")
    if connection is None:
        return default
    if not isinstance(connection.value, str) or connection.value not in _BY_CONNECTION:
        known = ", ".join(_BY_CONNECTION)
        raise UsageError(
            f"{connection.source}: no deployer is known for ansible_connection = {shown(connection.value)}; "
            f"write one of {known}, or name the deployer: {NAME}"
        )
    return Origin(_BY_CONNECTION[connection.value], connection.source, connection.where, connection.path)


def _agreed(inventory: Inventory, what: str, of_hosts: list[Origin]) -> Origin:
    first = of_hosts[0]
    for host, other in zip(inventory.hosts, of_hosts, strict=False):
        if other.value != first.value:
            raise UsageError(
                f"{inventory.source}: hosts disagree about {what}: {inventory.hosts[0]} has {shown(first.value)} "
                f"({first.source}), {host} has {shown(other.value)} ({other.source}); a run has one deployer"
            )
    return first
