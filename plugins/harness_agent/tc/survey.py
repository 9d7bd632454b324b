"""What a machine's kernel can do to what leaves, and by which interfaces its peers are reached."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.api import InfrastructureError, Machine, MachineCapability, MachineLost
from harness_agent.nft import IP, address
from harness_agent.tc.commands import trials

PROGRAM = Path(__file__).with_name("probe.py")
WITHIN = 60.0
"""Seconds that a machine may take: names that nobody knows are asked for many times."""


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
    try:
        done = await machine.run(
            (machine.python, "-I", "-S", "-X", "utf8", "-c", PROGRAM.read_text()),
            input=json.dumps(asked).encode(),
            timeout=WITHIN,
            become=True,
        )
    except MachineLost:
        raise
    except InfrastructureError as error:  # one cannot become root there
        return str(error).removeprefix(f"{machine.name}: ")
    if done.returncode != 0:
        raise InfrastructureError(f"{machine.name}: looking for tc: {done.stderr.decode(errors='replace')[-300:]}")
    told = json.loads(done.stdout)
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
