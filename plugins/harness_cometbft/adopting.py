"""A CometBFT network that somebody else runs, from what its nodes say of it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from harness.api import (
    Address,
    Introduction,
    Launch,
    Network,
    NetworkSpec,
    NodeSite,
    NodeSpec,
    Timing,
    TransactionFactory,
    Unreachable,
    Unsupported,
    UsageError,
    Wallet,
    introduced,
)
from harness_cometbft.client import CometClient, TransactionFormat
from harness_cometbft.rpc import Identity
from harness_cometbft.transactions import KeyValueFactory

PANIC_PATTERNS = (r"^panic: ", r"CONSENSUS FAILURE", r"^fatal error: ")
"""Go's own last words, and what the consensus engine says before it stops for good while its process lives on."""

MEASURED = 100
"""So many blocks, the newest, tell how long one takes."""
LEAST_MEASURED = 10
"""Of fewer no interval is made: then that of the playbook's options is taken."""


_Told = Introduction[CometClient, Identity]


class AdoptedComet(Network):
    """A network as its nodes tell it. `powers` are those of all its validators, by address."""

    panic_patterns = PANIC_PATTERNS

    def __init__(
        self,
        spec: NetworkSpec,
        genesis_time: float,
        members: Mapping[str, Identity],
        powers: Mapping[str, int],
        timing: Timing,
    ) -> None:
        self.spec = replace(spec, genesis_time=genesis_time)
        self.wallets = [Wallet(i, f"wallet-{i}", balance=0) for i in range(spec.wallets.count)]
        self.timing: Timing = timing
        self._powers = {name: powers.get(member.validator, 0) for name, member in members.items()}
        self.other_power = sum(powers.values()) - sum(self._powers.values())
        self._members = members

    def power(self, node: NodeSpec) -> int:
        return self._powers[node.name]

    def launch(self, site: NodeSite) -> Launch:
        raise Unsupported("nodes of an adopted network are not launched")

    def client(self, node: NodeSpec, api: Address) -> CometClient:
        return CometClient(
            node.name,
            api,
            node_ids={member.node_id: name for name, member in self._members.items()},
            proposers={member.validator: name for name, member in self._members.items() if self._powers[name]},
            block_interval=self.timing.block_interval,
        )

    def promised_blocks(self, start: float, end: float) -> float:
        """One each block interval, as it was measured."""
        return (end - start) / self.timing.block_interval

    def transactions(self, rng: random.Random) -> TransactionFactory:
        """Keys of this run alone: the network may have seen others with this seed."""
        return KeyValueFactory(self.wallets, rng, hashlib.sha256(self.spec.run_id.encode()).hexdigest()[:12])

    def submission_format(self) -> TransactionFormat:
        return TransactionFormat()


async def adopt(spec: NetworkSpec, apis: Mapping[str, Address], otherwise: Timing) -> AdoptedComet:
    """Ask all nodes who they are, and one of them for the validators and how long blocks take; `otherwise` is for a
    network that is too young to tell.

    Raises Unreachable, and UsageError with everything that is not as `spec` has it."""

    def client(name: str, api: Address) -> CometClient:
        return CometClient(name, api, node_ids={}, proposers={}, block_interval=otherwise.block_interval)

    async with introduced(spec.topology, apis, client, CometClient.identity) as told:
        ahead = max(told, key=lambda one: one.said.height)
        if ahead.said.height < 1:
            raise Unreachable(f"{ahead} has no block so far: only a network that runs can be adopted")
        powers = await ahead.client.powers()
        if problems := list(_strangers(told, powers)):
            raise UsageError("\n".join(problems))
        members = {one.node.name: one.said for one in told}
        genesis_time, interval = await _history(ahead, otherwise.block_interval)
        timing = replace(otherwise, block_interval=interval)
        return AdoptedComet(spec, genesis_time, members, powers, timing)


def _strangers(told: Sequence[_Told], powers: Mapping[str, int]) -> Iterator[str]:
    """What is wrong with who the nodes are."""
    first: dict[str, _Told] = {}
    for one in told:
        identity = one.said
        power = powers.get(identity.validator, 0)  # what a node says of its own is 0 before the first block
        if identity.chain != told[0].said.chain:
            yield f"{one} is of the network {identity.chain!r}, and {told[0]} of {told[0].said.chain!r}"
        elif identity.node_id in first:
            yield f"{one} and {first[identity.node_id]} are one and the same node, {identity.moniker!r}"
        elif ("validator" if power else "full") != one.node.role:
            voting = f"votes, with a power of {power}" if power else "has no voting power"
            yield f"{one}, {identity.moniker!r}, {voting}, and the playbook has a {one.node.role} node there"
        first.setdefault(identity.node_id, one)


async def _history(one: _Told, otherwise: float) -> tuple[float, float]:
    """When the oldest block that the node still has was made, and seconds from block to block lately."""
    height, lowest = one.said.height, max(1, one.said.lowest)
    oldest, newest = (await one.client.headers(lowest))[0], (await one.client.headers(height))[0]
    first = max(lowest, 2, height - MEASURED)  # that of block 1 is when the network was planned
    if height - first < LEAST_MEASURED:
        return oldest.time, otherwise
    before = (await one.client.headers(first))[0]
    return oldest.time, round((newest.time - before.time) / (height - first), 6)
