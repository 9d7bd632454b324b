"""Links between nodes that go through relays: how single flows are cut, delayed and slowed down without root.

`program` is the relay itself, which runs beside the nodes; the rest is the controller's end."""

from __future__ import annotations

from harness_agent.relay.control import SOURCE, Door, Line, Relay, argv
from harness_agent.relay.held import spawn
from harness_agent.relay.shaper import SHAPES, LinkShaper, RelayShaper, straight, wants_links

__all__ = [
    "SHAPES",
    "SOURCE",
    "Door",
    "Line",
    "LinkShaper",
    "Relay",
    "RelayShaper",
    "argv",
    "spawn",
    "straight",
    "wants_links",
]
