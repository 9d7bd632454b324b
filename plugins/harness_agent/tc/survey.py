"""What a machine's kernel can do to what leaves, and by which interfaces its peers are reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.api import Machine, MachineCapability
from harness_agent.asking import ask
from harness_agent.nft import IP, address
from harness_agent.tc.commands import trials

PROGRAM = Path(__file__).with_name("probe.py").read_text()


@dataclass(frozen=True, slots=True)
class Way:
    """To an address of a peer: from which of ours, and by which interface."""

    theirs: IP
    ours: IP
    device: str

    @property
    def both(self) -> tuple[IP, IP]:
        return self.theirs, self.ours


@dataclass(frozen=True, slots=True)
class Survey:
    """`tc` is its path there, `lacks` why it cannot do something, `roots` what interfaces have now."""

    tc: str
    lacks: Mapping[MachineCapability, str]
    roots: Mapping[str, str]
    peers: Mapping[str, tuple[Way, ...]]


async def survey(machine: Machine, peers: Mapping[str, str]) -> Survey | str:
    """What a machine says, `peers` being names or addresses by node; or why none of it can be done. Touches nothing.
    Raises InfrastructureError."""
    tried = trials()
    asked = {"trials": dict(tried), "peers": dict(peers)}
    told = await ask(machine, PROGRAM, asked, "tc")
    if isinstance(told, str):
        return told
    lacks = {MachineCapability(what): str(why) for what, why in told["problems"].items() if why}
    if len(lacks) == len(tried):
        return str(min(lacks.values()))
    for node in peers:
        if isinstance(why := told["peers"].get(node, "it has no ip (install iproute2)"), str):
            return why
    for device, root in told["roots"].items():
        if not root.endswith(" 0:"):
            return f"{device} has a queue that somebody configured there ({root}): it would not come back as it is"
    found = {
        node: tuple(Way(address(theirs), address(ours), device) for theirs, ours, device in ways)
        for node, ways in told["peers"].items()
    }
    for node, ways in found.items():
        if any(way.theirs.is_loopback for way in ways):
            return f"{node} has an address there that every machine has: {peers[node]}"
    return Survey(told["tc"], lacks, told["roots"], found)
