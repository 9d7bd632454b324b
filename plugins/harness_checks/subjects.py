"""Which nodes a check is about."""

from __future__ import annotations

from harness.api import Context, Node, NodeState
from harness_checks.stretches import Stretch

HELD_UP_ALLOWED = 0.1
"""Share of the drive for which the harness may be held up before what took too long, or did not come, may be due to
its own machine, which may be the nodes' as well."""


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


def held_up(ctx: Context) -> str:
    """That the harness itself was held up for too much of the drive to say that nodes were slow, "" if not."""
    window = ctx.window
    drive = Stretch(window.start, ctx.clock.now() if window.end is None else window.end)
    lost = drive.seconds - sum(part.seconds for part in drive.without(Stretch(*span) for span in ctx.feed.held_up))
    if lost <= HELD_UP_ALLOWED * drive.seconds:
        return ""
    return f"the harness itself was held up for {lost / drive.seconds:.0%} of the drive"
