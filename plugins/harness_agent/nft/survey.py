"""Who is who on a machine, and whether it has rules at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.api import Machine
from harness_agent.asking import ask
from harness_agent.nft.rules import IP, address, trial

PROGRAM = Path(__file__).with_name("probe.py").read_text()


@dataclass(frozen=True, slots=True)
class Survey:
    """`nft` is its path there. Of each peer: its addresses, with that from which this machine sends to it."""

    nft: str
    peers: Mapping[str, tuple[tuple[IP, IP], ...]]


async def survey(machine: Machine, peers: Mapping[str, str]) -> Survey | str:
    """What a machine says, `peers` being names or addresses by node; or why it takes no rules, or does not know who is
    who. Touches nothing. Raises InfrastructureError."""
    asked = {"ruleset": trial(), "peers": dict(peers)}
    told = await ask(machine, PROGRAM, asked, "nft")
    if isinstance(told, str):
        return told
    if told["problem"]:
        return str(told["problem"])
    found: dict[str, tuple[tuple[IP, IP], ...]] = {}
    for node, pairs in told["peers"].items():
        if isinstance(pairs, str):
            return pairs
        found[node] = tuple((address(theirs), address(ours)) for theirs, ours in pairs)
        if any(theirs.is_loopback for theirs, _ in found[node]):
            return f"{node} has an address there that every machine has: {peers[node]}"
    return Survey(told["nft"], found)
