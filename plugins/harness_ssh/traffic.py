"""Queues of the kernel on the machines of a run: whether there can be any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.api import MachineCapability, PlannedNode
from harness_agent.tc import QUEUES, TcShaper, survey
from harness_ssh.deployment import Site
from harness_ssh.firewall import Links, beside, crowded
from harness_ssh.pool import Pool
from harness_ssh.surveys import surveys


def wants_queues(links: Links, needs: frozenset[MachineCapability]) -> bool:
    return links == "auto" and not QUEUES.isdisjoint(needs)


async def queues(nodes: Sequence[PlannedNode], sites: Mapping[str, Site], pool: Pool, forks: int) -> TcShaper | str:
    """What delays and slows down what these nodes send one another, as far as all machines can, or why nothing does;
    `forks` machines are asked at once. Raises InfrastructureError."""
    if problem := crowded(nodes):
        return problem
    asked = await surveys(survey, nodes, sites, pool, forks)
    if isinstance(asked, str):
        return asked
    seen, sessions = asked
    homes = {node.spec.name: node.host.name for node in nodes}
    addresses = {ip for told in seen.values() for ways in told.peers.values() for way in ways for ip in way.both}
    if not all(sites[host].tunnelled for host in homes.values()) and (problem := beside(sessions, addresses)):
        return problem
    return TcShaper({node: sites[host].machine for node, host in homes.items()}, seen, sessions)
