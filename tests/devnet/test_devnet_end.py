"""How a node ends."""

from __future__ import annotations

import asyncio

import pytest

from harness_devnet.node.gossip import Gossip
from harness_devnet.node.node import _LoopHost

pytestmark = pytest.mark.anyio


async def test_no_timer_fires_once_the_node_ends() -> None:
    """A slot that it led came between the closing of its store and the end of the loop: a traceback, a panic."""
    host, fired = _LoopHost(asyncio.get_running_loop(), Gossip()), []
    host.later(0.0, lambda: fired.append("while it runs"))
    await asyncio.sleep(0.01)
    host.later(0.0, lambda: fired.append("after its end"))
    host.close()
    await asyncio.sleep(0.01)
    assert fired == ["while it runs"]
