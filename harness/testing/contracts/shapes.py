"""Links that are cut, delayed and slowed down: what asked for it is seen by nodes, and nothing else is disturbed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial

import anyio
import pytest

from harness.engine.wiring import Wiring
from harness.plugin.contract.base import MachineCapability
from harness.spec.links import CUT, Flow, LinkShape
from harness.spec.topology import Link
from harness.testing.contracts.base import DeployerSuite
from harness.testing.contracts.bench import READY_WITHIN, Bench, Net
from harness.testing.waiting import eventually

NEVER = 0.5
"""Seconds in which what must not come has not come; it would take next to none."""
DELAY = 0.3
"""Seconds: many times what a busy machine adds to a round trip, most of the time."""
LATE = 2.0
"""Seconds by which a busy machine may be late once; less so each of several times."""
RATE, SIZE = 200_000.0, 500_000
"""Bytes a second, and bytes that take several seconds at that rate and next to no time without."""


class ShapesSuite(DeployerSuite):
    async def test_links_are_cut_one_by_one(self, bench: Bench) -> None:
        async with _shaped(bench, MachineCapability.LINK_CONTROL) as net:
            a, b, c = net.nodes
            await net.deployment.shape_links(_both(a, b))
            assert not await _reached(net, Link(a, b)), "a link that is cut was dialled"
            assert not await _reached(net, Link(b, a)), "a link that is cut was dialled"
            for link in (Link(a, c), Link(c, a), Link(b, c), Link(c, b)):
                assert await _reached(net, link), "a link was cut with another one"
            await net.nodes[b].kill()
            await net.nodes[b].start()
            await net.nodes[b].wait_ready(READY_WITHIN)
            assert not await _reached(net, Link(a, b)), "a restart has mended a link"
            await net.deployment.shape_links({})
            await eventually(partial(_reached, net, Link(a, b)), "the link is mended")
            await eventually(partial(_reached, net, Link(b, a)), "the link is mended the other way")

    async def test_one_way_is_cut_and_the_other_is_not(self, bench: Bench) -> None:
        async with _shaped(bench, MachineCapability.LINK_CONTROL) as net:
            a, b, c = net.nodes
            await net.connect(Link(a, b), "ab")
            await net.connect(Link(a, c), "ac")
            await net.deployment.shape_links({Flow(a, b): CUT})
            await net.ask(a, "say", "ab", ["held"])
            await net.ask(b, "shout", "free")
            assert await net.ask(a, "hear", "ab", LATE) == "free"
            await anyio.sleep(NEVER)
            assert await net.ask(b, "lines") == []
            assert not await _reached(net, Link(a, b)), "a connection came to be though one way is cut"
            assert not await _reached(net, Link(b, a)), "a connection came to be though one way is cut"
            assert await _reached(net, Link(c, b)) and await _reached(net, Link(b, c))
            await net.ask(a, "say", "ac", ["not held"])
            assert await net.ask(a, "hear", "ac", LATE) == "not held"
            await net.deployment.shape_links({Flow(b, a): CUT})
            await _says(net, b, ["held"])
            assert await net.ask(a, "hear", "ab", NEVER) is None, "the other way is not cut"
            await net.deployment.shape_links({})
            await eventually(partial(_hears, net, a, "ab", "held"), "the answer comes")

    async def test_connections_come_to_life_again_and_nothing_is_lost(self, bench: Bench) -> None:
        async with _shaped(bench, MachineCapability.LINK_CONTROL) as net:
            a, b, _ = net.nodes
            await net.connect(Link(a, b), "ab")
            said: list[str] = []
            for number in range(3):
                await net.deployment.shape_links(_both(a, b))
                new = [f"{number}-{line}" for line in range(50)]
                said += new
                await net.ask(a, "say", "ab", new)
                assert await net.ask(a, "hear", "ab", NEVER) is None, "it was heard through a cut"
                await net.deployment.shape_links({})
                await _says(net, b, said)
                assert [await net.ask(a, "hear", "ab", LATE) for _ in new] == new

    async def test_a_shape_takes_the_place_of_another(self, bench: Bench) -> None:
        async with _shaped(bench, MachineCapability.LINK_CONTROL) as net:
            a, b, c = net.nodes
            for cut, other in ((b, c), (b, c), (c, b)):
                await net.deployment.shape_links(_both(a, cut))
                await eventually(partial(_reached, net, Link(a, other)), "the other link is not cut")
                assert not await _reached(net, Link(a, cut))
            for _ in range(2):
                await net.deployment.shape_links({})
                for link in (Link(a, b), Link(a, c), Link(c, a)):
                    await eventually(partial(_reached, net, link), "no link is cut")

    async def test_each_way_is_delayed(self, bench: Bench) -> None:
        async with _shaped(bench, MachineCapability.LINK_CONTROL, MachineCapability.LINK_DELAY) as net:
            a, b, c = net.nodes
            await net.connect(Link(a, b), "ab")
            await net.connect(Link(a, c), "ac")
            wiring = Wiring(bench.links(net.nodes), net.nodes)
            wiring.deployment = net.deployment
            assert min(await _round_trips(net, a, "ab")) < DELAY
            slow = LinkShape(delay=DELAY)
            for flows in ((Flow(a, b),), (Flow(b, a),), (Flow(a, b), Flow(b, a))):
                await net.deployment.shape_links(dict.fromkeys(flows, slow))
                least = len(flows) * DELAY
                taken = await _round_trips(net, a, "ab")
                assert least <= min(taken) < least + LATE, taken
                assert min(await _round_trips(net, a, "ac")) < DELAY, "another link was delayed with it"
                seen = await wiring.reach([Link(a, b), Link(b, a), Link(c, a)], 4 * DELAY + 10.0)
                for link in (Link(a, b), Link(b, a)):
                    assert (seen[link].round_trip or 0.0) >= least, seen
                assert (seen[Link(c, a)].round_trip or LATE) < LATE, seen
            await net.deployment.shape_links({})
            assert min(await _round_trips(net, a, "ab")) < DELAY, "it is still delayed"

    async def test_a_rate_is_not_exceeded(self, bench: Bench) -> None:
        async with _shaped(bench, MachineCapability.LINK_CONTROL, MachineCapability.LINK_RATE) as net:
            a, b, c = net.nodes
            await net.connect(Link(a, b), "ab")
            await net.connect(Link(a, c), "ac")
            await net.deployment.shape_links({Flow(a, b): LinkShape(rate=RATE)})
            slowly = SIZE / RATE
            assert await net.ask(a, "push", "ab", SIZE, timeout=60.0) >= 0.8 * slowly
            assert await net.ask(a, "push", "ac", SIZE, timeout=60.0) < slowly, "another link was slowed down with it"
            wiring = Wiring(bench.links(net.nodes), net.nodes)
            wiring.deployment = net.deployment
            seen = await wiring.throughput([Link(a, b), Link(a, c)], SIZE, 60.0)
            assert 0.5 * RATE <= (seen[Link(a, b)].there or 0.0) <= 1.25 * RATE, seen
            assert (seen[Link(a, b)].back or 0.0) > 2 * RATE, f"the other way was slowed down with it: {seen}"
            assert (seen[Link(a, c)].there or 0.0) > 2 * RATE, f"another link was slowed down with it: {seen}"
            await net.deployment.shape_links({})
            assert await net.ask(a, "push", "ab", SIZE, timeout=60.0) < slowly, "it is still slow"


@asynccontextmanager
async def _shaped(bench: Bench, *needs: MachineCapability) -> AsyncIterator[Net]:
    """Three nodes, of which each may dial each; skips what this deployer cannot do."""
    reports = await bench.deployer.inspect(bench.planned(3), bench.chain, bench.request().access)
    for need in needs:
        if not all(need in report.capabilities for report in reports):
            pytest.skip(f"this deployer has no {need} as it is set up here")
    async with bench.up(3) as net:
        yield net


def _both(one: str, other: str) -> dict[Flow, LinkShape]:
    return {Flow(one, other): CUT, Flow(other, one): CUT}


async def _reached(net: Net, link: Link) -> bool:
    """Whether a node gets through to another one when it dials it."""
    return bool(await net.dial(link) == link.dst)


async def _says(net: Net, node: str, lines: Iterable[str]) -> None:
    """Wait until a node was told exactly this by others."""
    told = list(lines)

    async def all_of_it() -> bool:
        return bool(await net.ask(node, "lines") == told)

    await eventually(all_of_it, f"{node} was told {told[-1]!r} and what came before it")


async def _hears(net: Net, node: str, key: str, line: str) -> bool:
    return bool(await net.ask(node, "hear", key, 0.1) == line)


async def _round_trips(net: Net, node: str, key: str) -> list[float]:
    """Seconds, of some."""
    return [await net.ask(node, "push", key, 1, timeout=60.0) for _ in range(3)]
