"""What the factory makes as invalid is refused by a real node with a reason, whatever the bytes, and harms nothing."""

from __future__ import annotations

import random

import pytest

from harness.api import NetworkSpec, TopologySpec, Transaction, WalletsSpec
from harness.spec.topology import build_topology
from harness_devnet.chain import Devnet, DevnetConfig
from harness_devnet.invalid import KINDS

REPEATS = {"replay", "duplicate-in-batch"}


def factory(network, seed=5):
    return network.network.transactions(random.Random(seed))


@pytest.mark.anyio
@pytest.mark.real
async def test_a_real_node_refuses_every_kind_with_a_reason_and_stays_up(real_network):
    network = real_network("full", {"validator": 1})
    client = network.client("validator-0")
    await network.until(client.head)
    made = factory(network)
    settled = made.make(0)
    assert (await client.submit(settled)).accepted

    async def included() -> bool:
        return await client.balance(network.network.wallets[0].address) != 1000

    await network.until(included)
    reasons = {}
    for kind in sorted(KINDS - {"duplicate-in-batch"}):
        for sender in range(8):
            transaction = made.invalid(kind, sender % 4, settled if sender % 4 == 0 or kind == "replay" else None)
            receipt = await client.submit(transaction)
            assert not receipt.accepted and receipt.reason, (kind, transaction.payload[:300])
            reasons.setdefault(kind, receipt.reason)
    assert reasons["bad-signature"] == "bad signature"
    assert "does not cover" in reasons["insufficient-funds"]
    assert reasons["wrong-chain"] == "for another chain"
    assert "already used" in reasons["replay"]
    assert await client.pending() == 0
    assert (await client.submit(made.make(1))).accepted, "valid ones do not suffer"


@pytest.mark.anyio
@pytest.mark.real
async def test_a_thousand_mutations_do_not_crash_a_real_node(real_network):
    network = real_network("full", {"validator": 1})
    client = network.client("validator-0")
    await network.until(client.head)
    made, rng = factory(network), random.Random(9)
    for number in range(1000):
        transaction = made.invalid(rng.choice(["mutated", "random", "truncated", "malformed"]), number % 4)
        receipt = await client.submit(transaction)
        assert not receipt.accepted and receipt.reason, transaction.payload
    assert network.processes["validator-0"].poll() is None
    assert "Traceback" not in network.log("validator-0")
    assert (await client.head()).height >= 0


@pytest.mark.parametrize("value", [b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe", b'"' + b"\\ud800" * 9, b"1" * 5000])
@pytest.mark.anyio
@pytest.mark.real
async def test_json_that_breaks_parsers_is_refused(real_network, value):
    network = real_network("full", {"validator": 1})
    client = network.client("validator-0")
    await network.until(client.head)
    receipt = await client.submit(Transaction("", value, 0))
    assert not receipt.accepted and receipt.reason
    assert (await client.head()).height >= 0


def test_the_seed_decides_what_is_made_and_no_id_is_that_of_a_valid_one():
    def network():
        topology = build_topology(TopologySpec("full", {"validator": 1}), random.Random(1))
        return Devnet(DevnetConfig()).network(NetworkSpec("test", 7, topology, WalletsSpec(4, 1000), 1_700_000_000.0))

    kinds = sorted(KINDS - REPEATS) * 20
    one, other = ([made.invalid(kind, 0) for kind in kinds] for made in (network().transactions(random.Random(3)),) * 2)
    again = [made.invalid(kind, 0) for made in (network().transactions(random.Random(3)),) for kind in kinds]
    assert one == again != other
    made = network().transactions(random.Random(3))
    valid = {made.make(0).id for _ in range(500)}
    assert not valid & {each.id for each in (*one, *other)}
    assert {kind for kind, each in zip(kinds, one, strict=True) if each.id} >= {"bad-signature", "unknown-fields"}


def test_only_what_is_final_can_be_replayed():
    topology = build_topology(TopologySpec("full", {"validator": 1}), random.Random(1))
    spec = NetworkSpec("test", 7, topology, WalletsSpec(4, 1000), 1_700_000_000.0)
    with pytest.raises(LookupError):
        Devnet(DevnetConfig()).network(spec).transactions(random.Random(1)).invalid("replay", 0)
