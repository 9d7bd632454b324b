"""Addresses: nodes reach one another and are reached, at the same places all the time."""

from __future__ import annotations

from harness.spec.topology import Link
from harness.testing.contracts.base import DeployerSuite
from harness.testing.contracts.bench import READY_WITHIN, Bench, is_silent


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
