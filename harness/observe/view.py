"""What is known of one node's chain."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.observe.blocks import BlockHeader


@dataclass(slots=True)
class NodeView:
    """What the feed knows of one node. To be read by all, written by the feed alone.

    `height` and `final_height` are -1 before the first block. `chain` is the node's best chain, height → hash, and
    `final` its final blocks, both for the last `BlockFeed.window` heights only. `last_seen_at` (monotonic seconds)
    is when it last answered, None if it never did. `error` (untrusted text) is why it is not connected."""

    name: str
    connected: bool = False
    error: str = ""
    height: int = -1
    hash: str = ""
    final_height: int = -1
    last_seen_at: float | None = None
    blocks_seen: int = 0
    reorganisations: int = 0
    chain: dict[int, str] = field(default_factory=dict)
    final: dict[int, str] = field(default_factory=dict)


def joins(view: NodeView, header: BlockHeader) -> bool:
    """Whether this header follows on, replaces, or repeats a block of the chain known of this node."""
    if view.chain.get(header.height) == header.hash:
        return True
    before = view.chain.get(header.height - 1)
    if before is None:
        return not view.chain or header.height <= view.height
    return before == header.parent


def cut(view: NodeView, height: int) -> None:
    """Forget this node's chain above `height`."""
    if view.height > height:
        for above in [known for known in view.chain if known > height]:
            del view.chain[above]
        view.height, view.hash = height, view.chain.get(height, "")


def keep_above(floor: int, blocks: dict[int, str]) -> None:
    """Drop entries up to height `floor`. They are in order of height."""
    while blocks and (lowest := next(iter(blocks))) <= floor:
        del blocks[lowest]
