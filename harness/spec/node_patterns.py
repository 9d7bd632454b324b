"""Node patterns within a run: names, roles and globs, joined with `:`, `&` and `!` as in inventories."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from harness.errors import UsageError

if TYPE_CHECKING:  # which needs these patterns itself
    from harness.spec.topology import NodeSpec


def select_nodes(pattern: str, nodes: Sequence[NodeSpec]) -> tuple[NodeSpec, ...]:
    """In the order of `nodes`, at least one. A term is a node's name, a role (or its plural), a glob over names, or
    `all`; `:` or `,` adds, `:&` keeps only, `:!` takes away (taken away last, as in Ansible).

    Raises UsageError for a term that matches nothing, and for a pattern that leaves nothing."""
    terms = [term.strip() for term in re.split(r"[:,]", pattern) if term.strip()]
    added = [_matching(term, nodes) for term in terms if term[0] not in "&!"]
    chosen = frozenset[str]().union(*added) if added else {node.name for node in nodes}
    for term in terms:
        if term.startswith("&"):
            chosen &= _matching(term[1:], nodes)
        elif term.startswith("!"):
            chosen -= _matching(term[1:], nodes)
    if not terms or not chosen:
        raise UsageError(f'node pattern "{pattern}": it leaves no node')
    return tuple(node for node in nodes if node.name in chosen)


def _matching(term: str, nodes: Sequence[NodeSpec]) -> frozenset[str]:
    found = frozenset(
        n.name for n in nodes if term in (n.name, n.role, f"{n.role}s", "all") or fnmatchcase(n.name, term)
    )
    if not found:
        roles = ", ".join(dict.fromkeys(node.role for node in nodes))
        raise UsageError(f'node pattern: "{term}" matches no node and no role (roles: {roles})')
    return found
