"""Inventories in the JSON shape of Ansible's `--list`: what executables print, `ansible-inventory` and plugins give.

    {"web": {"hosts": ["a", "b"], "vars": {…}, "children": ["db"]},
     "db": ["c"],                                  the short form: hosts alone
     "_meta": {"hostvars": {"a": {…}}}}            without `_meta`, each host is asked for by itself

(https://docs.ansible.com/ansible/latest/dev_guide/developing_inventory.html). Names stand for themselves: there are no
ranges here, and no ports behind a colon."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from harness.errors import Problem, SpecError
from harness.spec.groups import PRIORITY, Group, HostVars, Written, find_circle
from harness.spec.model import SourceRef
from harness.spec.problems import shown
from harness.spec.toml_document import KeyPath, show_path

META = "_meta"
_KEYS = ("hosts", "vars", "children")

AskHosts = Callable[[Iterable[str]], Mapping[str, Any]]
"""Gives variables for each of these hosts, for listings without `_meta`."""


def parse_listing(output: bytes, program: str) -> Any:
    """What it printed, as JSON. Raises SpecError with the line and the column of its output."""
    try:
        return json.loads(output.decode())
    except UnicodeDecodeError as error:
        before = output[: error.start].split(b"\n")
        place = (len(before), len(before[-1].decode()) + 1)
        raise SpecError([Problem(program, *place, "", "prints something that is not UTF-8 text")]) from None
    except json.JSONDecodeError as error:
        message = f"prints no JSON: {error.msg[:1].lower()}{error.msg[1:]}" if output.strip() else "prints nothing"
        raise SpecError([Problem(program, error.lineno, error.colno, "", message)]) from None
    except RecursionError:
        raise SpecError([Problem(program, 0, 0, "", "prints JSON that is nested too deep")]) from None
    except ValueError as error:  # an integer of thousands of digits
        raise SpecError([Problem(program, 0, 0, "", f"prints JSON that cannot be read: {error}")]) from None


def read_listing(
    data: Any, program: str, where: SourceRef, ask: AskHosts | None = None
) -> tuple[dict[str, Group], HostVars]:
    """Groups and every host's own variables, all written at `where`. `program` is what errors call the listing's
    origin. Raises SpecError with everything that is wrong with its shape."""
    reader = _Reader(program, where)
    reader.listing(data)
    if not reader.problems:
        meta = data.get(META)
        reader.host_variables(meta["hostvars"] if meta else ask(reader.hosts) if ask else {}, meta is not None)
    if reader.problems:
        raise SpecError(reader.problems)
    return reader.groups, reader.hosts


class _Reader:
    def __init__(self, program: str, where: SourceRef) -> None:
        self.groups: dict[str, Group] = {}
        self.hosts: HostVars = {}
        self.problems: list[Problem] = []
        self._program = program
        self._where = where

    def listing(self, data: Any) -> None:
        if not isinstance(data, Mapping):
            self._problem((), f"must be an object of groups, not {shown(data)}")
            return
        for name, group in data.items():
            if not isinstance(name, str) or not name:
                self._problem((), f"must have names of groups for keys, not {shown(name)}")
            elif name != META:
                self._group(name, group)
            elif not isinstance(group, Mapping) or not isinstance(group.get("hostvars"), Mapping):
                self._problem((META,), "must have an object hostvars, with the variables of each host")
        if circle := find_circle(self.groups):
            message = f"groups are children of each other in a circle: {' → '.join(circle)}"
            self._problem((circle[0], "children"), message)

    def host_variables(self, hostvars: Mapping[str, Any], in_meta: bool) -> None:
        for host in self.hosts:
            path: KeyPath = (META, "hostvars", host) if in_meta else (host,)
            self._vars(self.hosts[host], hostvars.get(host, {}), path)

    def _group(self, name: str, data: Any) -> None:
        group = self.groups.setdefault(name, Group(name))
        if isinstance(data, Mapping):
            if not data.keys() & set(_KEYS):
                hint = 'an empty group is written {"hosts": []}'
                self._problem((name,), "has neither hosts nor children nor vars; Ansible takes it for a host", hint)
                return
        else:
            data = {"hosts": data}
        for index, host in self._names(data.get("hosts", []), (name, "hosts")):
            if not host:
                self._problem((name, "hosts", index), "must be a host's name, not an empty one")
                continue
            group.hosts[host] = self._where
            self.hosts.setdefault(host, {})
        for index, child in self._names(data.get("children", []), (name, "children")):
            if child == "all":
                self._problem((name, "children", index), "all is the parent of every group, so it is no child")
                continue
            group.children[child] = Written(child, self._where)
            self.groups.setdefault(child, Group(child))
        self._vars(group.vars, data.get("vars", {}), (name, "vars"))
        self._check_priority(group)

    def _names(self, names: Any, path: KeyPath) -> Iterable[tuple[int, str]]:
        if not isinstance(names, list):
            self._problem(path, f"must be a list of names, not {shown(names)}")
            return
        for index, name in enumerate(names):
            if isinstance(name, str):
                yield index, name
            else:
                self._problem((*path, index), f"must be a name, not {shown(name)}")

    def _vars(self, into: dict[str, Written], variables: Any, path: KeyPath) -> None:
        if isinstance(variables, Mapping):
            into.update((name, Written(value, self._where)) for name, value in variables.items())
        else:
            self._problem(path, f"must be an object of variables, not {shown(variables)}")

    def _check_priority(self, group: Group) -> None:
        """Programs may give the number as text; Ansible takes it so."""
        written = group.vars.get(PRIORITY)
        if written is None:
            return
        try:
            if isinstance(written.value, bool) or not isinstance(written.value, int | str):
                raise ValueError
            group.vars[PRIORITY] = Written(int(written.value), written.where)
        except ValueError:
            self._problem((group.name, "vars", PRIORITY), f"must be a whole number, not {shown(written.value)}")
            del group.vars[PRIORITY]

    def _problem(self, path: KeyPath, message: str, hint: str = "") -> None:
        self.problems.append(Problem(self._program, 0, 0, show_path(path), message, hint))
