"""Which nodes a workload sends to: a pattern, looked at in plan and resolved in the run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from harness.api import Context, Node, PlanView, UsageError


def unmatched(pattern: str, plan: PlanView) -> Sequence[str]:
    """What is wrong with a pattern in this plan: each term that is no node's name, no role, no role's plural, no glob
    that matches a node, and not `all`."""
    known = {"all", *plan.node_names, *plan.roles, *(f"{role}s" for role in plan.roles)}
    terms = [term.strip().lstrip("&!") for term in re.split("[:,]", pattern) if term.strip()]
    return tuple(
        f'nodes = "{pattern}": "{term}" is no role and no node of this plan; roles: {", ".join(plan.roles)}'
        for term in terms
        if term not in known and not any(fnmatchcase(name, term) for name in plan.node_names)
    )


def select(ctx: Context, pattern: str) -> Sequence[Node]:
    """The nodes that a pattern means, all for an empty one. Raises UsageError where there are none."""
    nodes = ctx.select(pattern or "all")
    if not nodes:
        raise UsageError(f"{ctx.component}: no node matches {pattern!r}")
    return nodes
