"""Inventories: hosts in groups, and each host's variables with the place that each came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.errors import Problem, SpecError, UsageError
from harness.spec import patterns
from harness.spec.groups import PRIORITY, Group, HostVars, Written, depths, descendants
from harness.spec.inventory_sources import is_toml, read_by_program
from harness.spec.inventory_toml import read_groups
from harness.spec.model import SourceRef
from harness.spec.problems import known_hint
from harness.spec.secrets import SECRET_VARIABLES, Secret
from harness.spec.toml_document import KeyPath, TomlDocument, show_path


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
        """A TOML file, an executable, or whatever Ansible reads (harness.spec.inventory_sources). Programs are run for
        it, so it blocks. Raises SpecError with all of its problems."""
        if is_toml(path):
            document = TomlDocument.read(path)
            return cls.of(document.file, *read_groups(document), document)
        listed = read_by_program(path)
        inventory = cls.of(str(path), listed.groups, listed.hosts)
        return inventory._settled(listed.resolved)

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

        Every group without a parent becomes a child of `all`, every host without a group a host of `ungrouped`. The
        values of SECRET_VARIABLES become Secrets. Raises SpecError for those that cannot be one."""
        groups, host_vars = _with_secrets(groups, host_vars)
        own = dict(groups)
        top = own.pop("all", Group("all"))
        loose = own.pop("ungrouped", Group("ungrouped"))
        grouped = {host for group in own.values() for host in group.hosts}
        anywhere = loose.hosts | {host: top.hosts.get(host) for host in host_vars if host not in loose.hosts}
        loose_hosts = {host: where for host, where in anywhere.items() if host not in grouped}
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
        return {name: frozenset(members) for name, members in self._members.items()}

    @cached_property
    def _members(self) -> Mapping[str, tuple[str, ...]]:
        return {
            name: tuple(dict.fromkeys(h for below in descendants(self.groups, name) for h in self.groups[below].hosts))
            for name in self.groups
        }

    @cached_property
    def _by_nearness(self) -> tuple[str, ...]:
        depth = depths(self.groups)
        return tuple(sorted(self.groups, key=lambda name: (depth[name], self.groups[name].priority, name)))

    def hosts_of(self, group: str) -> tuple[str, ...]:
        """Hosts of a group, then of its children, then of theirs, in the order in which they are written. Raises
        KeyError."""
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
        given = {name: Written(value, SourceRef("-e")) for name, value in (extra or {}).items()}
        problems: list[Problem] = []
        found |= _origins(_secrets_in(given, problems), "")
        if problems:
            raise SpecError(problems)
        found.pop(PRIORITY, None)
        return found

    def _settled(self, resolved: Mapping[str, Mapping[str, Any]]) -> Inventory:
        """With these values for hosts' variables wherever it would come to others itself."""
        where = SourceRef(self.source)
        host_vars = {host: dict(own) for host, own in self.host_vars.items()}
        for host, variables in resolved.items():
            ours = self.variables(host)
            final = _secrets_in({name: Written(value, where) for name, value in variables.items()}, [])
            host_vars[host] |= {
                name: said for name, said in final.items() if name not in ours or ours[name].value != said.value
            }
        return replace(self, host_vars=host_vars)

    def variable_names(self) -> frozenset[str]:
        """Every variable that the inventory gives to anything: what `-e` may replace."""
        tables: Sequence[Mapping[str, Written]] = [group.vars for group in self.groups.values()]
        return frozenset().union(*tables, *self.host_vars.values())


def _origins(variables: Mapping[str, Written], holder: str) -> dict[str, Origin]:
    return {name: Origin(w.value, f"{w.where} {holder}".rstrip(), w.where, w.path) for name, w in variables.items()}


def _with_secrets(
    groups: Mapping[str, Group], host_vars: Mapping[str, Mapping[str, Written]]
) -> tuple[dict[str, Group], HostVars]:
    problems: list[Problem] = []
    guarded = {name: replace(group, vars=_secrets_in(group.vars, problems)) for name, group in groups.items()}
    hosts = {host: _secrets_in(variables, problems) for host, variables in host_vars.items()}
    if problems:
        raise SpecError(dict.fromkeys(problems))  # a range of hosts has one place
    return guarded, hosts


def _secrets_in(variables: Mapping[str, Written], problems: list[Problem]) -> dict[str, Written]:
    """The variables, those that are secrets as such; problems with these are added."""
    found = dict(variables)
    for name in variables.keys() & SECRET_VARIABLES:
        written = variables[name]
        where = written.where
        try:
            secret = Secret.of(written.value, f"{where}: {name}", Path(where.file).parent)
        except ValueError as error:
            path = show_path(written.path) or name
            problems.append(Problem(where.file, where.line, where.column, path, str(error)))
        else:
            found[name] = replace(written, value=secret)
    return found
