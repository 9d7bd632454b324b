"""Which nodes a check is about."""

from __future__ import annotations

from harness.api import Context, Node, NodeState


def should_be_up(ctx: Context) -> tuple[list[Node], dict[str, str]]:
    """The nodes that should be up now, and why the others should not."""
    up, others = [], {}
    for node in ctx.nodes.values():
        if any(healed is None for _, healed in ctx.faults.disturbed(node.name)):
            others[node.name] = "still under a fault"
        elif node.state in (NodeState.CREATED, NodeState.STOPPED):
            others[node.name] = f"{node.state}, as the harness was told"
        else:
            up.append(node)
    return up, others
