"""The block feed: the blocks seen at every node, with one connection each."""

from __future__ import annotations


class NodeView:
    """What the feed knows of one node."""


class BlockFeed:
    """Follows every node."""
