"""Inventories: hosts in groups, and each host's variables with the place that each came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.spec import patterns
from harness.spec.groups import PRIORITY, Group, Written, depths, descendants
from harness.spec.inventory_toml import read_groups
from harness.spec.model import SourceRef
from harness.spec.problems import known_hint
from harness.spec.toml_document import KeyPath, TomlDocument


@dataclass(frozen=True, slots=True)
class Origin:
    """A variable's value and where it came from: `source` is `file:line:column [group rack1]`,
    `file:line:column [host]` or `-e`. `path` is its path in the inventory's document."""

    value: Any
    source: str
    where: SourceRef
    path: KeyPath = ()


@dataclass(frozen=True, eq=False)
class Inventory:
    """Hosts and groups of one source, whatever kind it is. `document` is there when it is a TOML file.

    `hosts` are in the order in which they were written first. `groups` hold `all` and `ungrouped` too."""

    source: str
    hosts: tuple[str, ...]
    groups: Mapping[str, Group]
    host_vars: Mapping[str, Mapping[str, Written]]
    document: TomlDocument | None = None

    @classmethod
    def read(cls, path: Path) -> Inventory:
        """Raises SpecError with all of the file's problems."""
        document = TomlDocument.read(path)
        return cls.of(document.file, *read_groups(document), document)

    @classmethod
    def implicit(cls) -> Inventory:
        """This machine alone: what a run without an inventory is on."""
        source = "implicit localhost"
        local = Written("local", SourceRef(source))
        return cls.of(source, {"all": Group("all", {"localhost": None})}, {"localhost": {"ansible_connection": local}})

    @classmethod
    def of(
        cls,
        source: str,
        groups: Mapping[str, Group],
        host_vars: Mapping[str, Mapping[str, Written]],
        document: TomlDocument | None = None,
    ) -> Inventory:
        """From groups as any source gives them, with every child there and no circle.

        Every group without a parent becomes a child of `all`, every host without a group a host of `ungrouped`."""
        own = dict(groups)
        top = own.pop("all", Group("all"))
        loose = own.pop("ungrouped", Group("ungrouped"))
        grouped = {host for group in own.values() for host in group.hosts}
        loose_hosts = {host: top.hosts.get(host) for host in host_vars if host not in grouped}
        parented = {child for group in own.values() for child in group.children}
        children = {
            name: top.children.get(name, Written(name, SourceRef(source)))
            for name in ("ungrouped", *own)
            if name not in parented
        }
        complete = {
            "all": Group("all", {}, children | top.children, top.vars),
            "ungrouped": Group("ungrouped", loose_hosts, loose.children, loose.vars),
            **own,
        }
        return cls(source, tuple(host_vars), complete, host_vars, document)

    @cached_property
    def _member_sets(self) -> Mapping[str, frozenset[str]]:
        return {
            name: frozenset(host for below in descendants(self.groups, name) for host in self.groups[below].hosts)
            for name in self.groups
        }

    @cached_property
    def _members(self) -> Mapping[str, tuple[str, ...]]:
        return {
            name: tuple(host for host in self.hosts if host in members) for name, members in self._member_sets.items()
        }

    @cached_property
    def _by_nearness(self) -> tuple[str, ...]:
        depth = depths(self.groups)
        return tuple(sorted(self.groups, key=lambda name: (depth[name], self.groups[name].priority, name)))

    def hosts_of(self, group: str) -> tuple[str, ...]:
        """Hosts of a group and of all groups below it. Raises KeyError."""
        return self._members[group]

    def where(self, host: str) -> SourceRef:
        """Where a host was written first; the source as a whole for one that has no place."""
        places = (group.hosts.get(host) for group in self.groups.values())
        return next(filter(None, places), SourceRef(self.source))

    def groups_of(self, host: str) -> tuple[str, ...]:
        """Groups that a host is in, by itself or through a child: those whose variables win come last.

        As Ansible orders them: by depth below `all`, then by priority, then by name."""
        return tuple(name for name in self._by_nearness if host in self._member_sets[name])

    def select(self, pattern: str) -> tuple[str, ...]:
        """Hosts that a pattern means, in inventory order (harness.spec.patterns). Raises UsageError."""
        try:
            return patterns.select(pattern, self.hosts, self._members)
        except UsageError as error:
            raise UsageError(f"{self.source}: {error}") from None

    def variables(self, host: str, extra: Mapping[str, Any] | None = None) -> Mapping[str, Origin]:
        """A host's variables: groups (the nearest wins) < host < `extra` (`-e`). Raises UsageError."""
        if host not in self.host_vars:
            raise UsageError(f'{self.source}: no host "{host}"; {known_hint(host, self.hosts, "hosts")}')
        found: dict[str, Origin] = {}
        for name in self.groups_of(host):
            found |= _origins(self.groups[name].vars, f"[group {name}]")
        found |= _origins(self.host_vars[host], "[host]")
        found |= {name: Origin(value, "-e", SourceRef("-e")) for name, value in (extra or {}).items()}
        found.pop(PRIORITY, None)
        return found

    def variable_names(self) -> frozenset[str]:
        """Every variable that the inventory gives to anything: what `-e` may replace."""
        tables: Sequence[Mapping[str, Written]] = [group.vars for group in self.groups.values()]
        return frozenset().union(*tables, *self.host_vars.values())


def _origins(variables: Mapping[str, Written], holder: str) -> dict[str, Origin]:
    return {name: Origin(w.value, f"{w.where} {holder}", w.where, w.path) for name, w in variables.items()}
