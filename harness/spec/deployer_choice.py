"""Which deployer an inventory asks for, and with which options. Hosts that are no machines need none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.errors import UsageError
from harness.spec.connection import KINDS, kind_of
from harness.spec.inventory import Inventory, Origin
from harness.spec.manage import is_machine
from harness.spec.model import PluginUse, SourceRef
from harness.spec.problems import shown

NAME = "harness_deployer"
OPTIONS = "harness_deployer_config"

ADOPTING = "adopt"
"""What stands for a deployer where nodes are adopted by their endpoints alone."""

_BY_KIND = {"local": "process", "ssh": "ssh", "docker": "docker"}
"""Kinds of connections, and the deployer that goes the same way."""


def deployer_name(inventory: Inventory, extra: Mapping[str, Any] | None = None, limit: str = "") -> str:
    """The variable `harness_deployer`; else by the kind of connection (harness.spec.connection): `process` for this
    machine, `ssh`, `docker`; `adopt` where no host is a machine.

    Raises UsageError when hosts disagree: a run has one deployer."""
    return deployer_use(inventory, extra, limit).use


def deployer_use(inventory: Inventory, extra: Mapping[str, Any] | None = None, limit: str = "") -> PluginUse:
    """The deployer with its options, the table `harness_deployer_config`, as a playbook's `use` would give it: `where`
    is the place of its name, `path` that of its options. Only hosts that match the pattern `limit` are asked, and of
    these only machines.

    Raises UsageError when hosts disagree about either, or for values of the wrong kind."""
    chosen = {host: inventory.variables(host, extra) for host in inventory.select(limit or "all")}
    hosts = {h: of_host for h, of_host in chosen.items() if is_machine({n: o.value for n, o in of_host.items()})}
    nobody = SourceRef(inventory.source)
    if chosen and not hosts:
        return PluginUse(ADOPTING, ADOPTING, {}, nobody)
    named = {host: _named(inventory, host, variables) for host, variables in hosts.items()}
    name = _agreed(inventory, NAME, named) or Origin("process", "there is no host", nobody)
    none = Origin({}, "no variable says so", nobody)
    options = _agreed(inventory, OPTIONS, {host: of_host.get(OPTIONS, none) for host, of_host in hosts.items()}) or none
    if not isinstance(options.value, Mapping):
        raise UsageError(f"{options.source}: {OPTIONS} must be a table, not {shown(options.value)}")
    where = options.where if options.value and not options.path else name.where  # options of -e have no path
    return PluginUse(name.value, name.value, options.value, where, options.path)


def _named(inventory: Inventory, host: str, variables: Mapping[str, Origin]) -> Origin:
    if named := variables.get(NAME):
        if not isinstance(named.value, str) or not named.value:
            raise UsageError(f"{named.source}: {NAME} must be a deployer's name, not {shown(named.value)}")
        return named
    said = variables.get("ansible_connection")
    if said is None:
        source = "so it is without ansible_connection"
        return Origin(_BY_KIND[kind_of(host, None)], source, inventory.where(host))
    deployer = _BY_KIND.get(kind_of(host, said.value)) if isinstance(said.value, str) else None
    if deployer is None:
        raise UsageError(
            f"{said.source}: no deployer is known for ansible_connection = {shown(said.value)}; "
            f"write one of {', '.join(KINDS)}, or name the deployer: {NAME}"
        )
    return Origin(deployer, said.source, said.where, said.path)


def _agreed(inventory: Inventory, what: str, of_hosts: Mapping[str, Origin]) -> Origin | None:
    """What all hosts say, as the first says it; None without hosts."""
    if not of_hosts:
        return None
    (first_host, first), *others = of_hosts.items()
    for host, other in others:
        if other.value != first.value:
            raise UsageError(
                f"{inventory.source}: hosts disagree about {what}: {first_host} has {shown(first.value)} "
                f"({first.source}), {host} has {shown(other.value)} ({other.source}); a run has one deployer: give all "
                "the same, or choose hosts with --limit"
            )
    return first
