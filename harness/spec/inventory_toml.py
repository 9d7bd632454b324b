"""Inventories in TOML, in the shape of Ansible's: `[group]` tables with `hosts`, `children` and `vars`."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping

from harness.errors import Problem, SpecError
from harness.spec.groups import PRIORITY, Group, HostVars, Written, find_circle
from harness.spec.problems import known_hint, shown
from harness.spec.ranges import expand
from harness.spec.toml_document import KeyPath, TomlDocument

_KEYS = ("hosts", "children", "vars")
_NAME = re.compile(r"(?:[^:\[\]]|\[[^\[\]]*\])+")
"""A host's name, perhaps with ranges: no colon outside of brackets."""


def read_groups(document: TomlDocument) -> tuple[dict[str, Group], HostVars]:
    """Groups in written order, and every host's own variables. `all` and `ungrouped` are among the groups only
    if they are written. Raises SpecError with all problems."""
    reader = _Reader(document)
    for name, table in document.data.items():
        reader.group(name, table, (name,))
    reader.check_children()
    if reader.problems:
        raise SpecError(reader.problems)
    return reader.groups, reader.hosts


class _Reader:
    def __init__(self, document: TomlDocument) -> None:
        self.groups: dict[str, Group] = {}
        self.hosts: HostVars = {}
        self.problems: list[Problem] = []
        self._document = document

    def group(self, name: str, table: object, path: KeyPath) -> None:
        if not isinstance(table, Mapping):
            hint = f"write [{name}.hosts] for a group, [all.vars] for variables of all hosts"
            self._problem(path, f"must be a group (a table), not {shown(table)}", hint)
            return
        group = self.groups.setdefault(name, Group(name))
        for key in table:
            if key not in _KEYS:
                self._problem((*path, key), "unknown key", known_hint(key, _KEYS))
        self._hosts(group, table.get("hosts", {}), (*path, "hosts"))
        self._children(group, table.get("children", []), (*path, "children"))
        self._vars(group.vars, table.get("vars", {}), (*path, "vars"))
        priority = group.vars.get(PRIORITY)
        if priority and type(priority.value) is not int:
            self._problem(priority.path, f"must be a whole number, not {shown(priority.value)}")
            del group.vars[PRIORITY]

    def _hosts(self, group: Group, hosts: object, path: KeyPath) -> None:
        names: Iterable[tuple[object, object, KeyPath]]
        if isinstance(hosts, list):
            names = ((name, {}, (*path, index)) for index, name in enumerate(hosts))
        elif isinstance(hosts, Mapping):
            names = ((name, table, (*path, name)) for name, table in hosts.items())
        else:
            self._problem(path, f"must be a table of hosts, not {shown(hosts)}", f"write [{group.name}.hosts]")
            return
        for pattern, table, here in names:
            self._host(group, pattern, table, here)

    def _host(self, group: Group, pattern: object, table: object, path: KeyPath) -> None:
        if not isinstance(pattern, str):
            self._problem(path, f"must be a host's name, not {shown(pattern)}")
            return
        given: dict[str, Written] = {}
        pattern, port = _split_port(pattern)
        if port is not None:
            given["ansible_port"] = Written(port, self._document.where(path), path)
        self._vars(given, table, path)
        try:
            names = expand(pattern)
        except ValueError as error:
            self._problem(path, str(error))
            return
        where = self._document.where(path)
        for name in names:
            before = self.hosts.get(name, given).get("ansible_port")
            if port is not None and (before is None or before.value != port):  # Ansible would pass over it in silence
                hint = f"write {name} = {{ ansible_port = {port} }}"
                self._problem(path, f"{name} is written before, without this port", hint)
            group.hosts[name] = where
            self.hosts.setdefault(name, {}).update(given)

    def _children(self, group: Group, children: object, path: KeyPath) -> None:
        if isinstance(children, Mapping):
            for name, table in children.items():
                group.children[name] = Written(name, self._document.where((*path, name)), (*path, name))
                if table:
                    self.group(name, table, (*path, name))
        elif isinstance(children, list):
            for index, name in enumerate(children):
                if isinstance(name, str):
                    group.children[name] = Written(name, self._document.where((*path, index)), (*path, index))
                else:
                    self._problem((*path, index), f"must be a group's name, not {shown(name)}")
        else:
            self._problem(
                path, f"must be a list of groups, not {shown(children)}", f"write children = [{shown(children)}]"
            )

    def _vars(self, into: dict[str, Written], table: object, path: KeyPath) -> None:
        if not isinstance(table, Mapping):
            hint = "a host without variables is written name = {}" if path[-2:-1] == ("hosts",) else ""
            self._problem(path, f"must be a table of variables, not {shown(table)}", hint)
            return
        for name, value in table.items():
            into[name] = Written(value, self._document.where((*path, name)), (*path, name))

    def check_children(self) -> None:
        for group in self.groups.values():
            for child, written in list(group.children.items()):
                if child == "all":
                    self._problem(written.path, "all is the parent of every group, so it is no child")
                    del group.children[child]
                elif child not in self.groups:
                    known = [name for name in self.groups if name not in ("all", group.name)]
                    self._problem(written.path, f'there is no group "{child}"', known_hint(child, known, "groups"))
                    del group.children[child]
        if circle := find_circle(self.groups):
            written = self.groups[circle[0]].children[circle[1]]
            self._problem(written.path, f"groups are children of each other in a circle: {' → '.join(circle)}")

    def _problem(self, path: KeyPath, message: str, hint: str = "") -> None:
        self.problems.append(self._document.problem(path, message, hint))


def _split_port(pattern: str) -> tuple[str, int | None]:
    """`name:22` and `[2001:db8::1]:22`, as in Ansible; an IPv6 address without brackets has no port."""
    name, _, port = pattern.rpartition(":")
    if port.isascii() and port.isdigit():
        if name.startswith("[") and _is_ipv6(name[1:-1]):
            return name[1:-1], int(port)
        if _NAME.fullmatch(name):
            return name, int(port)
    return pattern, None


def _is_ipv6(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 6
    except ValueError:
        return False
