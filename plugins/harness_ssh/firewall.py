"""Rules of the kernel on the machines of a run: whether there can be any, and the SSH connections that pass them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Literal

from harness.api import DeployError, MachineCapability, PlannedNode
from harness_agent.nft import IP, RULES, NftShaper, Session, survey
from harness_agent.relay import SHAPES
from harness_ssh.deployment import Site
from harness_ssh.pool import Pool
from harness_ssh.surveys import surveys

Links = Literal["auto", "relay", "nft"]
"""What links are shaped by. auto: packets are dropped by nft, delayed and slowed down by tc, each where it can be; what
is left is by relays, which hold streams."""


def wants_rules(links: Links, needs: frozenset[MachineCapability]) -> bool:
    return links != "relay" and not RULES.isdisjoint(needs)


def wants_relays(
    links: Links, needs: frozenset[MachineCapability], *, ruled: bool, queued: Set[MachineCapability] = frozenset()
) -> bool:
    """`ruled`: what rules can do is done by them; `queued` is what queues do."""
    return links != "nft" and not (SHAPES - (RULES if ruled else frozenset()) - queued).isdisjoint(needs)


def capabilities(links: Links, why_not: str) -> tuple[frozenset[MachineCapability], dict[MachineCapability, str]]:
    """What can be done to links, and for the rest the end of "needs X, which …". `why_not`: why there are no rules."""
    takes = f"takes nft, and {why_not}" if why_not else ""
    match links:
        case "relay":
            return SHAPES, dict.fromkeys(RULES - SHAPES, 'a relay cannot do: links = "relay"')
        case "nft":
            lacks = dict.fromkeys(SHAPES - RULES, 'nft cannot do: links = "nft"')
            return (frozenset(), {**lacks, **dict.fromkeys(RULES, takes)}) if why_not else (RULES, lacks)
        case "auto":
            return (SHAPES, dict.fromkeys(RULES - SHAPES, takes)) if why_not else (SHAPES | RULES, {})


def crowded(nodes: Iterable[PlannedNode]) -> str:
    """Why the machines' addresses do not tell these nodes apart, "" if they may."""
    seen: dict[str, str] = {}
    for node in nodes:
        if node.adoption is not None:
            return f"{node.spec.name} is somebody else's"
        other = seen.setdefault(node.host.name, node.spec.name)
        if other != node.spec.name:
            return f"{node.host.name} has several nodes, {other} and {node.spec.name}, with one address"
    return ""


async def rules(
    run_id: str, nodes: Sequence[PlannedNode], sites: Mapping[str, Site], pool: Pool, forks: int
) -> NftShaper | str:
    """What drops packets between these nodes, or why nothing can; `forks` machines are asked at once. Raises
    InfrastructureError."""
    if problem := crowded(nodes):
        return problem
    asked = await surveys(survey, nodes, sites, pool, forks)
    if isinstance(asked, str):
        return asked
    seen, sessions = asked
    homes = {node.spec.name: node.host.name for node in nodes}
    addresses = {ip for told in seen.values() for pairs in told.peers.values() for both in pairs for ip in both}
    if not all(sites[host].tunnelled for host in homes.values()) and (problem := beside(sessions, addresses)):
        return problem
    return NftShaper.of(run_id, {node: sites[host].machine for node, host in homes.items()}, seen, sessions)


def beside(sessions: Iterable[Session], nodes: Set[IP]) -> str:
    """Why what is done between nodes, at these addresses, would be done to us, too, who call them directly; "" if it
    would not."""
    clients = {session.client for session in sessions}
    return (
        'we are on the machine of a node, and call others from there: harness_api = "tunnel"' if clients & nodes else ""
    )


def refused(why_not: str) -> DeployError:
    return DeployError(f'ssh: links = "nft": {why_not}')
