"""Which time a feed has observed: not that in which it saw nothing, or was held up itself."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from tests.observe.scripted_node import ScriptedNode, chain_of
from tests.observe.virtual_time import VirtualLoop
from tests.observe.watched import Watched

pytestmark = pytest.mark.anyio


async def test_time_without_a_connection_is_not_observed_until_what_was_missed_is_read() -> None:
    node = ScriptedNode(chain_of("g", "a1"))
    watched = Watched(a=node)
    async with watched.running():
        await anyio.sleep(20)
        lost = anyio.current_time()
        node.go(up=False)
        await anyio.sleep(10)
        [_, (start, end)] = watched.feed.unobserved("a")
        assert (start, end) == (lost, anyio.current_time())  # it still lasts
        node.go(up=True)
        await anyio.sleep(20)
        [first, (start, end)] = watched.feed.unobserved("a")
    assert first[1] - first[0] == 0
    assert start == lost
    assert 10 <= end - start <= 11


async def test_a_loop_that_is_a_little_late_all_the_time_is_held_up() -> None:
    a = ScriptedNode(chain_of("g"))
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    async with Watched(a=a).running() as watched:
        await anyio.sleep(10.1)
        loop.jump(0.3)  # late, but once
        await anyio.sleep(5)
        assert watched.feed.held_up == ()
        slow = anyio.current_time()
        for _ in range(10):
            loop.jump(0.3)
            await anyio.sleep(0.25)
        until = anyio.current_time()
        await anyio.sleep(5)
        [(start, end)] = watched.feed.held_up
        assert slow - 0.3 <= start <= slow + 0.3
        assert until - 0.6 <= end <= until + 0.3


async def test_who_asks_before_the_beat_that_is_due_is_told_too() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    async with Watched(a=ScriptedNode(chain_of("g"))).running() as watched:
        await anyio.sleep(10.1)
        held = anyio.current_time()
        loop.jump(6)
        [(start, end)] = watched.feed.held_up
        assert held - 0.3 <= start <= held
        assert end == held + 6


async def test_time_in_which_the_loop_is_held_up_is_not_observed_at_any_node() -> None:
    a, b = ScriptedNode(chain_of("g")), ScriptedNode(chain_of("g"))
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    async with Watched(a=a, b=b).running() as watched:
        await anyio.sleep(10.1)
        held = anyio.current_time()
        loop.jump(6)
        await anyio.sleep(10)
        for node in "ab":
            [(start, end)] = [span for span in watched.feed.unobserved(node) if span[1] - span[0] > 0]
            assert held - 0.3 <= start <= held
            assert held + 6 <= end <= held + 6.3
