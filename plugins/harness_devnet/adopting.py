"""A devnet that somebody else runs, from what its nodes say of it."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.api import (
    Address,
    Introduction,
    Launch,
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
from harness_devnet.client import DevnetClient
from harness_devnet.network import PANICS, GenesisNetwork
from harness_devnet.node.codec import Malformed
from harness_devnet.node.genesis import FEE, Genesis, Member, parse
from harness_devnet.node.lottery import SPACE
from harness_devnet.wallets import MAX_AMOUNT, Transfers, address, secret

KEY_SHOWN = 16
"""Digits of a member's key by which it is called if it is no node of the run."""


@dataclass(frozen=True, slots=True)
class _Status:
    """A node's own name for itself, its genesis (hash) and its height."""

    name: str
    genesis: str
    height: int


_Told = Introduction[DevnetClient, _Status]


class AdoptedDevnet(GenesisNetwork):
    """A network as its nodes tell it. `members` are the run's nodes, by their names, as the network knows them."""

    panic_patterns = PANICS

    def __init__(
        self,
        spec: NetworkSpec,
        genesis: Genesis,
        members: Mapping[str, Member],
        wallets: tuple[Wallet, ...],
        nonces: Mapping[int, int],
    ) -> None:
        super().__init__(replace(spec, genesis_time=genesis.time / 1e6), genesis)
        self.wallets = wallets
        self.timing = timing_of(genesis)
        self.other_power = sum(m.stake for m in genesis.validators) - sum(m.stake for m in members.values())
        self._members = members
        self._nonces = nonces
        ours = {member.name: name for name, member in members.items()}
        self._names = {member.name: ours.get(member.name, member.key[:KEY_SHOWN]) for member in genesis.members}

    def power(self, node: NodeSpec) -> int:
        """A validator's stake; 0 for an executor."""
        return self._members[node.name].stake

    def launch(self, site: NodeSite) -> Launch:
        raise Unsupported("nodes of an adopted network are not launched")

    def client(self, node: NodeSpec, api: Address) -> DevnetClient:
        return DevnetClient(api, self._names)

    def transactions(self, rng: random.Random) -> TransactionFactory:
        return Transfers(self.genesis, self.spec.seed, self.wallets, rng, self._nonces)


def timing_of(genesis: Genesis) -> Timing:
    """The network's pace. A slot has a leader unless no validator wins it, and each wins by itself (node.lottery)."""
    nobody = math.prod(1 - member.threshold / SPACE for member in genesis.validators)
    return Timing(round(genesis.slot / 1e6 / (1 - nobody), 6), genesis.k, genesis.slot / 1e6)


async def adopt(spec: NetworkSpec, apis: Mapping[str, Address]) -> AdoptedDevnet:
    """Ask all nodes who they are and what network they are of, and one of them for its genesis and the wallets.

    Raises Unreachable, and UsageError with everything that is not as `spec` has it."""
    async with introduced(spec.topology, apis, lambda _, api: DevnetClient(api), _status) as told:
        genesis = await _genesis(told[0])
        members = {member.name: member for member in genesis.members}
        if problems := list(_strangers(told, genesis, members)):
            raise UsageError("\n".join(problems))
        ours = {one.node.name: members[one.said.name] for one in told}
        ahead = max(told, key=lambda one: one.said.height)
        wallets, nonces = await _wallets(spec, genesis, ahead)
        return AdoptedDevnet(spec, genesis, ours, wallets, nonces)


async def _status(client: DevnetClient) -> _Status:
    status = await client.status()
    return _Status(str(status["name"]), status["genesis"], status["height"])


async def _genesis(one: _Told) -> Genesis:
    try:
        return parse(await one.client.genesis())
    except LookupError:
        raise UsageError(f"{one} does not tell its genesis: it is older than this harness can adopt") from None
    except Malformed as error:
        raise Unreachable(f"{one}: what it gives as its genesis is none: {error}") from error


def _strangers(told: Sequence[_Told], genesis: Genesis, members: Mapping[str, Member]) -> Iterator[str]:
    """What is wrong with who the nodes are."""
    first: dict[str, _Told] = {}
    for one in told:
        if one.said.genesis != genesis.hash:
            differing = f"its genesis is {one.said.genesis[:12]}, not {genesis.hash[:12]}"
            yield f"{one} is of another network than {told[0]}: {differing}"
        elif one.said.name not in members:
            yield f"{one} calls itself {one.said.name!r}, and its genesis has no such member"
        elif one.said.name in first:
            yield f"{one} and {first[one.said.name]} are one and the same node, {one.said.name!r}"
        elif (role := members[one.said.name].role) != one.node.role:
            asked = _a(one.node.role)
            yield f"{one} is {one.said.name!r}, {_a(role)} of its network, and the playbook has {asked} there"
        first.setdefault(one.said.name, one)


def _a(role: str) -> str:
    return f"an {role}" if role[:1] in "aeiou" else f"a {role}"


async def _wallets(spec: NetworkSpec, genesis: Genesis, one: _Told) -> tuple[tuple[Wallet, ...], dict[int, int]]:
    """The wallets of the spec's seed with what they have now, and their next nonces. Raises UsageError when they are
    not this network's, or of no use."""
    count, wanted, seed = spec.wallets.count, spec.wallets.balance, spec.seed
    if not count:
        return (), {}
    addresses = [address(secret(seed, "wallet", str(i))) for i in range(count)]
    funded = [genesis.balances.get(each) for each in addresses]
    if funded[0] is None:
        raise UsageError(
            f"this network's genesis has no wallets of the seed {seed}: "
            "write the seed that the network was made with in the playbook (seed = …), or give it with --seed"
        )
    if None in funded:
        there = funded.index(None)
        raise UsageError(
            f"this network's genesis has {there} of the {count} wallets of the seed {seed}: "
            f"write count = {there} in [wallets]"
        )
    if (least := min(balance or 0 for balance in funded)) < wanted:
        raise UsageError(
            f"the wallets of this network began with {least}, and the playbook wants {wanted} in each: "
            f"write balance = {least} in [wallets]"
        )
    accounts = await one.client.accounts()
    busy = [i for i, each in enumerate(addresses) if each in accounts["pending"]]
    if busy:
        raise UsageError(
            f"{len(busy)} of the wallets have transactions that wait to be included: another run is sending from them, "
            "or has just done so; wait until they are in"
        )
    wallets = tuple(Wallet(i, each, int(accounts["balances"][each])) for i, each in enumerate(addresses))
    if spent := [wallet for wallet in wallets if wallet.balance < FEE + MAX_AMOUNT]:
        raise UsageError(
            f"{len(spent)} of the wallets are spent: wallet {spent[0].index} has {spent[0].balance} left, "
            f"and a transfer takes up to {FEE + MAX_AMOUNT}"
        )
    return wallets, {i: int(accounts["nonces"][each]) for i, each in enumerate(addresses)}
