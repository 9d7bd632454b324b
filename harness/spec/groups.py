"""Groups of hosts: what every kind of inventory comes down to before it is resolved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

from harness.spec.model import SourceRef
from harness.spec.toml_document import KeyPath

PRIORITY = "ansible_group_priority"
"""The variable of a group that says which of several at the same depth wins: the highest. 1 when not given."""


@dataclass(frozen=True, slots=True)
class Written:
    """A value and where it was written."""

    value: Any
    where: SourceRef
    path: KeyPath = ()


HostVars = dict[str, dict[str, Written]]
"""Every host's own variables, hosts in the order in which they were written first."""


@dataclass(slots=True)
class Group:
    """A group as it is written, while it is put together. `hosts` are its own, without its children's, and
    where each was written (None: nowhere)."""

    name: str
    hosts: dict[str, SourceRef | None] = field(default_factory=dict)
    children: dict[str, Written] = field(default_factory=dict)
    vars: dict[str, Written] = field(default_factory=dict)

    @property
    def priority(self) -> int:
        written = self.vars.get(PRIORITY)
        return written.value if written else 1


def find_circle(groups: Mapping[str, Group]) -> tuple[str, ...]:
    """Names of groups of which each is a child of the one before, the last the first again; () without."""
    try:
        TopologicalSorter({name: group.children for name, group in groups.items()}).prepare()
    except CycleError as error:
        upwards: list[str] = error.args[1][1:]
        downwards = upwards[::-1]
        start = downwards.index(next(name for name in groups if name in downwards))
        circle = downwards[start:] + downwards[:start]
        return (*circle, circle[0])
    return ()


def descendants(groups: Mapping[str, Group], name: str) -> Iterator[str]:
    """The group itself and all below it, each once, parents first."""
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        here = waiting.pop(0)
        if here not in seen:
            seen.add(here)
            yield here
            waiting += groups[here].children


def depths(groups: Mapping[str, Group]) -> dict[str, int]:
    """How far below `all` each group is, by the longest way. There must be no circle."""
    found = dict.fromkeys(groups, 0)
    # Longest paths by relaxation: at most as many rounds as there are groups.
    changed = True
    while changed:
        changed = False
        for name, group in groups.items():
            for child in group.children:
                if found[child] <= found[name]:
                    found[child] = found[name] + 1
                    changed = True
    return found
