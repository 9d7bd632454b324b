"""Node patterns within a run: names, roles and globs, joined with `:`, `&` and `!` as in inventories."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from harness.errors import UsageError
from harness.spec.topology import NodeSpec


def select_nodes(pattern: str, nodes: Sequence[NodeSpec]) -> tuple[NodeSpec, ...]:
    """In the order of `nodes`. A term is a node's name, a role (or its plural), a glob over names, or `all`;
    `:` or `,` adds, `:&` keeps only, `:!` takes away (taken away last, as in Ansible).

    Raises UsageError for a plain term that names nothing."""
    chosen: set[str] = set()
    kept: set[str] | None = None
    removed: set[str] = set()
    for term in filter(None, (t.strip() for t in re.split(r"[:,]", pattern))):
        matched = _matching(term.lstrip("&!"), nodes)
        if term.startswith("!"):
            removed |= matched
        elif term.startswith("&"):
            kept = matched if kept is None else kept & matched
        else:
            chosen |= matched
    only_taking_away = not any(t.strip() and t.strip()[0] not in "&!" for t in re.split(r"[:,]", pattern))
    if only_taking_away:
        chosen = {node.name for node in nodes}
    return tuple(n for n in nodes if n.name in chosen - removed and (kept is None or n.name in kept))


def _matching(term: str, nodes: Sequence[NodeSpec]) -> set[str]:
    if term == "all":
        return {node.name for node in nodes}
    found = {n.name for n in nodes if term in (n.name, n.role, f"{n.role}s") or fnmatchcase(n.name, term)}
    if not found and not any(c in term for c in "*?["):
        roles = ", ".join(dict.fromkeys(node.role for node in nodes))
        raise UsageError(f'node pattern: "{term}" is no node and no role (roles: {roles})')
    return found
