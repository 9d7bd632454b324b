"""Addresses: nodes reach one another and are reached, at the same places all the time."""

from __future__ import annotations

import pytest

from harness.plugin.contract.base import MachineCapability
from harness.spec.links import CUT, Flow
from harness.spec.topology import Link
from harness.testing.contracts.base import DeployerSuite
from harness.testing.contracts.bench import READY_WITHIN, Bench, eventually, is_silent


class LinksSuite(DeployerSuite):
    async def test_ports_are_distinct_and_free(self, bench: Bench) -> None:
        """On each machine; and the controller's ways to them are distinct anywhere."""
        async with bench.deploy(bench.request(4)) as deployment:
            places = deployment.placements
            assert sorted(places) == [f"member-{number}" for number in range(4)]
            bound = [(place.advertise, port) for place in places.values() for port in place.ports.values()]
            assert len(set(bound)) == len(bound) == 8
            reached = {str(deployment.endpoint(name, port)) for name in places for port in ("p2p", "api")}
            assert len(reached) == 8
            for name in places:
                assert await is_silent(deployment.endpoint(name, "api")), "something else is listening there"

    async def test_controller_and_nodes_reach_nodes(self, bench: Bench) -> None:
        async with bench.up(3) as net:
            names = list(net.nodes)
            for name in names:
                assert (await net.ask(name, "facts"))["argv"][0] == name
            for link in [Link(one, other) for one in names for other in names if one != other]:
                assert await net.dial(link) == link.dst

    async def test_addresses_stay_over_restarts(self, bench: Bench) -> None:
        async with bench.up(2) as net:
            one, other = net.nodes
            links = (Link(one, other), Link(other, one))

            def addresses() -> list[str]:
                ends = [net.deployment.endpoint(name, port) for name in net.nodes for port in ("p2p", "api")]
                return [str(address) for address in (*ends, *map(net.deployment.link_address, links))]

            before = addresses()
            for end in (net.nodes[other].stop, net.nodes[other].kill):
                await end()
                assert await is_silent(net.deployment.endpoint(other, "api"))
                assert isinstance(await net.dial(links[0]), dict), "a node that is gone was reached"
                await net.nodes[other].start()
                await net.nodes[other].wait_ready(READY_WITHIN)
                assert addresses() == before
                assert [await net.dial(link) for link in links] == [other, one]

    async def test_links_are_cut_one_by_one_and_one_way(self, bench: Bench) -> None:
        reports = await bench.deployer.inspect(bench.planned(3), bench.chain, bench.request().access)
        if not all(MachineCapability.LINK_CONTROL in report.capabilities for report in reports):
            pytest.skip("this deployer has no link control as it is set up here")
        async with bench.up(3) as net:
            a, b, c = net.nodes
            cut = Link(a, b)
            others = [Link(a, c), Link(c, a), Link(b, c), Link(c, b)]
            await net.deployment.shape_links({Flow(a, b): CUT, Flow(b, a): CUT})
            assert isinstance(await net.dial(Link(b, a)), dict), "a link that is cut was dialled"
            assert isinstance(await net.dial(cut), dict), "a link that is cut was dialled"
            assert [await net.dial(link) for link in others] == [link.dst for link in others]
            await net.nodes[b].kill()
            await net.nodes[b].start()
            await net.nodes[b].wait_ready(READY_WITHIN)
            assert isinstance(await net.dial(cut), dict), "a restart has mended a link"
            await net.deployment.shape_links({})

            async def mended() -> bool:
                return bool(await net.dial(cut) == b)

            await eventually(mended, "the link is mended")
