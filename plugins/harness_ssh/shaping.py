"""What shapes the links of a run: kernels where they can and may, and relays for the rest, which is said."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from harness.api import DeployRequest, Machine, MachineCapability
from harness_agent.nft import NftShaper
from harness_agent.nft import survey as rules_of
from harness_agent.relay import SHAPES
from harness_agent.tc import QUEUES, TcShaper
from harness_agent.tc import survey as queues_of
from harness_ssh import firewall, traffic
from harness_ssh.deployment import Site
from harness_ssh.firewall import Links
from harness_ssh.pool import Pool

SSH = "ssh"
DONE = {
    MachineCapability.LINK_CONTROL: ("dropped", "nft"),
    MachineCapability.LINK_DELAY: ("delayed", "tc"),
    MachineCapability.LINK_RATE: ("slowed down", "tc"),
}
"""What is done to packets, and by what, where the kernel does it."""


@dataclass(frozen=True, slots=True)
class Offer:
    """See HostReport."""

    can: frozenset[MachineCapability]
    lacks: Mapping[MachineCapability, str]
    instead: Mapping[MachineCapability, str] = field(default_factory=dict)


async def offer(links: Links, machine: Machine, crowded: str) -> Offer:
    """What can be done to links there; `crowded`: why the machine's address does not tell its nodes apart, "" if it
    does. What only its peers tell is seen when a run begins. Raises InfrastructureError."""
    if links == "relay":
        return Offer(*firewall.capabilities(links, crowded))
    ruled = crowded or await rules_of(machine, {})
    why_not = ruled if isinstance(ruled, str) else ""
    can, lacks = firewall.capabilities(links, why_not)
    if links == "nft":
        return Offer(can, lacks)
    queued = crowded or await queues_of(machine, {})
    unqueued = dict.fromkeys(QUEUES, queued) if isinstance(queued, str) else queued.lacks
    unruled = {MachineCapability.LINK_CONTROL: why_not} if why_not else {}
    return Offer(can, lacks, instead({**unruled, **unqueued}))


async def of_kernels(
    links: Links, request: DeployRequest, sites: Mapping[str, Site], pool: Pool
) -> tuple[NftShaper | None, TcShaper | None]:
    """What drops packets, and what delays them and slows them down, each None where relays are to do that, or nobody
    is. What relays do instead is warned of. Raises DeployError, InfrastructureError."""
    nodes, access = [node for node in request.nodes if not node.sender], request.access
    crowded = firewall.crowded(request.nodes)  # by senders, too: they are to reach whom their neighbour does not
    rules, queues, why_not = None, None, dict[MachineCapability, str]()
    if firewall.wants_rules(links, request.needs):
        ruled = crowded or await firewall.rules(request.run_id, nodes, sites, pool, access.forks)
        if isinstance(ruled, NftShaper):
            rules = ruled
        elif links == "nft":
            raise firewall.refused(ruled)
        else:
            why_not[MachineCapability.LINK_CONTROL] = ruled
    if traffic.wants_queues(links, request.needs):
        queued = crowded or await traffic.queues(nodes, sites, pool, access.forks)
        queues = queued if isinstance(queued, TcShaper) and queued.can else None
        why_not |= dict.fromkeys(QUEUES, queued) if isinstance(queued, str) else queued.lacks
    for sentence in said(why_not, request.needs):
        access.warn(SSH, sentence)
    return rules, queues


def instead(why_not: Mapping[MachineCapability, str]) -> dict[MachineCapability, str]:
    """Of each of these that is left to relays a sentence, by why the kernel does not do it."""
    return {what: _told(what, why) for what, why in why_not.items() if what in SHAPES}


def said(why_not: Mapping[MachineCapability, str], needs: Collection[MachineCapability]) -> list[str]:
    """The sentences about what is needed."""
    return sorted(sentence for what, sentence in instead(why_not).items() if what in needs)


def _told(what: MachineCapability, why: str) -> str:
    done, by = DONE[what]
    return f"packets are not {done} by {by}; relays hold streams instead: {why}"
