"""Queues of the kernel on the machines of a run: whether there can be any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import anyio

from harness.api import MachineCapability, PlannedNode
from harness_agent.nft import Session
from harness_agent.tc import Survey, TcShaper, survey
from harness_agent.tc.shaper import QUEUES
from harness_ssh.deployment import Site
from harness_ssh.firewall import Links, beside, crowded, session
from harness_ssh.pool import Pool


def wants_queues(links: Links, needs: frozenset[MachineCapability]) -> bool:
    return links == "auto" and not QUEUES.isdisjoint(needs)


async def queues(nodes: Sequence[PlannedNode], sites: Mapping[str, Site], pool: Pool, forks: int) -> TcShaper | str:
    """What delays and slows down what these nodes send one another, or why nothing can; `forks` machines are asked at
    once. Raises InfrastructureError."""
    if problem := crowded(nodes):
        return problem
    homes = {node.spec.name: node.host.name for node in nodes}
    seen: dict[str, Survey] = {}
    sessions: list[Session] = []
    problems: list[str] = []
    slots = anyio.CapacityLimiter(forks)

    async def look(node: str, host: str) -> None:
        peers = {peer: sites[home].address for peer, home in homes.items() if peer != node}
        async with slots:
            told = await survey(sites[host].machine, peers)
            if isinstance(told, str):
                problems.append(f"{host}: {told}")
                return
            seen[node] = told
            try:
                sessions.append(await session(await pool.get(host)))
            except ValueError:
                problems.append(f"{host}: its SSH server does not say whom it is connected with")

    async with anyio.create_task_group() as tasks:
        for node, host in homes.items():
            tasks.start_soon(look, node, host)
    if problems:
        return min(problems)
    addresses = {ip for told in seen.values() for ways in told.peers.values() for way in ways for ip in way.both}
    if not all(sites[host].tunnelled for host in homes.values()) and (problem := beside(sessions, addresses)):
        return problem
    shaper = TcShaper({node: sites[host].machine for node, host in homes.items()}, seen, sessions)
    return shaper if shaper.can else "no kernel of all machines has what it takes"
