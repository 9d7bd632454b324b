"""The plugin's side: options, determinism, promises, transactions, client errors."""

from __future__ import annotations

import asyncio
import io
import json
import random
import zipfile
from pathlib import PurePosixPath

import pytest
from pydantic import ValidationError

from harness.api import (
    Address,
    NetworkSpec,
    NodeSite,
    PeerAddress,
    TopologySpec,
    Unreachable,
    WalletsSpec,
)
from harness.spec.topology import build_topology
from harness_devnet import bundle, wallets
from harness_devnet.chain import Devnet, DevnetConfig
from harness_devnet.client import DevnetClient
from harness_devnet.node import transactions
from harness_devnet.node.genesis import FEE
from harness_devnet.node.ledger import State
from harness_devnet.node.mempool import Mempool
from harness_devnet.node.misbehave import PERMISSION

TOPOLOGY = build_topology(TopologySpec("star", {"validator": 3, "executor": 1}), random.Random(1))


def _network(seed=1, wallets=5, **options):
    chain = Devnet(DevnetConfig(**options))
    return chain.network(NetworkSpec("run", seed, TOPOLOGY, WalletsSpec(wallets, 1000), 1_700_000_000.25))


def _site(name):
    peers = (PeerAddress(TOPOLOGY.node("validator-0"), Address("10.0.0.1", 4000)),)
    return NodeSite(
        TOPOLOGY.node(name), PurePosixPath("/n"), "0.0.0.0", "10.0.0.2", {"p2p": 1, "api": 2}, peers,
        {bundle.NAME: PurePosixPath("/a/devnet.pyz")}, "python3",
    )  # fmt: skip


def test_everything_follows_from_the_spec():
    a, b, other = _network(), _network(), _network(seed=2)
    assert a.genesis.hash == b.genesis.hash != other.genesis.hash
    assert a.wallets == b.wallets and a.wallets[0].address != other.wallets[0].address
    assert a.launch(_site("validator-1")) == b.launch(_site("validator-1")) != other.launch(_site("validator-1"))
    made = [[n.transactions(random.Random(9)).make(i % 5) for i in range(10)] for n in (a, b)]
    assert made[0] == made[1]
    secrets = {a.launch(_site(node.name)).files[1].content for node in TOPOLOGY.nodes}
    assert len(secrets) == 4 and a.launch(_site("executor-0")).files[1].mode == 0o600


def test_of_many_wallets_only_those_that_send_cost_anything(monkeypatch):
    network, derived, original = _network(wallets=500), [], wallets.secret

    def secret(seed, kind, name):
        derived.append(name)
        return original(seed, kind, name)

    monkeypatch.setattr(wallets, "secret", secret)
    factory = network.transactions(random.Random(1))
    assert [factory.make(user).nonce for user in (3, 7, 3)] == [0, 0, 1]
    assert derived == ["3", "7"]


def test_the_bundle_is_reproducible_and_complete():
    first = bundle.devnet_pyz()
    bundle.devnet_pyz.cache_clear()
    assert bundle.devnet_pyz() == first
    names = zipfile.ZipFile(io.BytesIO(first)).namelist()
    assert names == sorted(names) and {"__main__.py", "devnet/core.py", "devnet/ed25519.py"} <= set(names)


def test_the_node_needs_the_standard_library_only():
    import ast
    import sys

    for name in zipfile.ZipFile(io.BytesIO(bundle.devnet_pyz())).namelist():
        source = zipfile.ZipFile(io.BytesIO(bundle.devnet_pyz())).read(name)
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [node.module]
            else:
                continue
            allowed = {*sys.stdlib_module_names, "devnet"} | ({"cryptography"} if "ed25519" in name else set())
            assert {module.split(".")[0] for module in modules} <= allowed, name


def test_promised_blocks_are_counted_exactly():
    network = _network(slot_duration="500ms", active_slot_coeff=0.4)
    lottery, genesis = network._lottery, network.genesis
    start = 1_700_000_000.25
    led = [slot for slot in range(1, 2001) if lottery.leaders(slot)]
    assert network.promised_blocks(start, start + 1000.5) == len(led)
    assert len(led) == pytest.approx(800, rel=0.1)
    first = genesis.slot_start(led[0])
    assert network.promised_blocks(first, first + 0.001) == 1
    assert network.promised_blocks(first - 0.4, first) == 0
    assert network.promised_blocks(start - 100, start) == 0
    halves = network.promised_blocks(start, start + 77.3) + network.promised_blocks(start + 77.3, start + 200)
    assert halves == network.promised_blocks(start, start + 200)
    assert Devnet(DevnetConfig(slot_duration="500ms", active_slot_coeff=0.4)).timing.block_interval == 1.25


def test_made_transactions_are_valid_and_their_effects_exact():
    network = _network()
    factory = network.transactions(random.Random(3))
    state = State.at_genesis(network.genesis)
    pool = Mempool(network.genesis, state)
    verifier = transactions.Verifier(network.genesis)
    expected = {wallet.address: 1000 for wallet in network.wallets}
    for i in range(60):
        made = factory.make(i % 5)
        tx = transactions.parse(transactions_json(made.payload), network.genesis)
        verifier.check(tx)
        pool.add(tx)
        assert (tx.id, tx.nonce, made.sender) == (made.id, made.nonce, i % 5)
        assert sum(made.effects.values()) == -FEE
        for address, delta in made.effects.items():
            expected[address] += delta
    chosen, after = pool.select(state, network.genesis.validators[0].key)
    assert len(chosen) == 60
    assert {wallet.address: after.account(wallet.address).balance for wallet in network.wallets} == expected


def transactions_json(payload):
    from harness_devnet.node.codec import decode

    return decode(payload)


def test_nonces_are_released_and_resynchronised():
    factory = _network().transactions(random.Random(3))
    made = [factory.make(0) for _ in range(4)]
    assert [tx.nonce for tx in made] == [0, 1, 2, 3]
    factory.release(made[2])
    factory.release(made[1])
    factory.release(made[1])
    assert [factory.make(0).nonce for _ in range(3)] == [1, 2, 4]
    factory.release(made[3])
    factory.resync(0, 9)
    assert [factory.make(0).nonce, factory.make(0).nonce, factory.make(1).nonce] == [9, 10, 0]


def test_a_single_wallet_pays_itself():
    tx = _network(wallets=1).transactions(random.Random(1)).make(0)
    assert list(tx.effects.values()) == [-FEE]


def test_what_cannot_work_is_a_plan_error(monkeypatch):
    monkeypatch.delenv(PERMISSION, raising=False)
    wallets = WalletsSpec(4, 1000)

    def problems(**options):
        return list(Devnet(DevnetConfig(**options)).check(TOPOLOGY, wallets))

    assert problems() == []
    assert "'validator-9', which is no validator" in problems(stakes={"validator-9": 2})[0]
    assert PERMISSION in problems(misbehave={"validator-0": "silent"})[0]
    monkeypatch.setenv(PERMISSION, "allowed")
    assert problems(misbehave={"validator-0": "silent@20"}) == []
    assert "no node" in problems(misbehave={"nobody": "silent"})[0]
    assert "is for validators" in problems(misbehave={"executor-0": "fork"})[0]
    alone = build_topology(TopologySpec("star", {"executor": 1}), random.Random(1))
    assert "0 validators" in Devnet(DevnetConfig()).check(alone, wallets)[0]
    assert "balance" in Devnet(DevnetConfig()).check(TOPOLOGY, WalletsSpec(1, 1))[0]


@pytest.mark.parametrize(
    "options",
    [
        {"slot_duration": 1},
        {"active_slot_coeff": 0},
        {"active_slot_coeff": 1.5},
        {"security_param": 0},
        {"stakes": {"validator-0": 0}},
        {"misbehave": {"validator-0": "dance"}},
        {"misbehave": {"validator-0": "silent@soon"}},
        {"unknown": 1},
    ],
)
def test_bad_options_are_refused(options):
    with pytest.raises(ValidationError):
        DevnetConfig(**options)


def test_power_is_stake():
    network = _network(stakes={"validator-1": 5})
    assert [network.power(node) for node in TOPOLOGY.nodes] == [1, 5, 1, 0]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 404 None\r\nContent-Length: 2\r\n\r\n{}",
        b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{"headers":[{}]}',
        b"HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
async def test_whatever_is_no_devnet_node_is_unreachable(answer):
    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = DevnetClient(Address("127.0.0.1", server.sockets[0].getsockname()[1]))
    with pytest.raises(Unreachable):
        await client.head()
    with pytest.raises(Unreachable):
        async for _ in client.follow(0):
            pass
    server.close()
    with pytest.raises(Unreachable):
        await client.pending()
    await client.aclose()


@pytest.mark.anyio
async def test_following_tells_the_node_which_block_was_seen_last():
    """After a reorganisation the node answers from the fork point, and the client goes on from there."""

    def header(height, hash):
        return {"height": height, "hash": hash, "parent": "p", "time": 1.5, "proposer": "v", "tx_count": 0}

    answers = [[header(3, "a"), header(4, "b")], [], [header(4, "c"), header(5, "d")], [header(6, "e")]]
    targets = []

    async def serve(reader, writer):
        for headers in answers:
            targets.append((await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode())
            body = json.dumps({"headers": headers}).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = DevnetClient(Address("127.0.0.1", server.sockets[0].getsockname()[1]))
    seen = []
    async for block in client.follow(2):
        seen.append((block.height, block.hash))
        if block.height == 6:
            break
    assert seen == [(3, "a"), (4, "b"), (4, "c"), (5, "d"), (6, "e")]
    assert [target.split("&wait")[0] for target in targets] == [
        "/blocks?after=2&hash=",
        "/blocks?after=4&hash=b",
        "/blocks?after=4&hash=b",
        "/blocks?after=5&hash=d",
    ]
    server.close()
    await client.aclose()
