"""Real nodes: four validators and a full node in a star around validator-0."""

from __future__ import annotations

import hashlib
import random
import re
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import anyio
import pytest

from harness.api import BlockHeader, Head, Transaction, Unreachable
from harness_cometbft.client import CometClient

pytestmark = [pytest.mark.anyio, pytest.mark.real]

RealNetwork = Any  # tests/cometbft/conftest.py; fixtures are the only way to it
DEADLINE = 60.0


@pytest.fixture(scope="module")
def network(start_network: Callable[..., RealNetwork]) -> RealNetwork:
    real = start_network("star")
    real.start()
    return real


@asynccontextmanager
async def clients(network: RealNetwork, *names: str) -> AsyncIterator[list[CometClient]]:
    every = [network.client(name) for name in names or [node.name for node in network.topology.nodes]]
    try:
        yield every
    finally:
        for client in every:
            await client.aclose()


async def head_when(client: CometClient, condition: Callable[[Head], bool]) -> Head:
    """The node's head as soon as it answers and `condition` holds."""
    with anyio.fail_after(DEADLINE):
        while True:
            try:
                if condition(head := await client.head()):
                    return head
            except Unreachable:
                pass
            await anyio.sleep(0.05)


async def chain_up_to(client: CometClient, height: int) -> list[BlockHeader]:
    await head_when(client, lambda head: head.height >= 1)
    found: list[BlockHeader] = []
    with anyio.fail_after(DEADLINE):
        async with aclosing(client.follow(0)) as headers:  # type: ignore[type-var]
            async for header in headers:
                found.append(header)
                if header.height >= height:
                    return found
    raise AssertionError("follow ended by itself")


async def test_blocks_flow_and_all_nodes_agree(network: RealNetwork) -> None:
    async with clients(network) as every:
        chains = [await chain_up_to(client, 6) for client in every]
    first = chains[0][:6]
    assert [header.height for header in first] == [1, 2, 3, 4, 5, 6]
    assert [header.parent for header in first] == ["", *(header.hash for header in first[:-1])]
    assert {header.proposer for header in first} <= {f"validator-{index}" for index in range(4)}
    assert len({header.proposer for header in first}) > 1
    assert [header.time for header in first] == sorted(header.time for header in first)
    assert all(chain[:6] == first for chain in chains)


async def test_head_and_version(network: RealNetwork) -> None:
    async with clients(network, "full-0") as (client,):
        head = await head_when(client, lambda head: head.height >= 1 and not head.syncing)
        assert head.final_height == head.height
        assert re.fullmatch(r"CometBFT 0\.38\.\d+", await client.version())
        assert (await client.block(head.hash, head.height)).header.hash == head.hash
        with pytest.raises(LookupError):
            await client.block("AB" * 32, head.height)


async def test_peers_are_the_links_of_the_star(network: RealNetwork) -> None:
    async with clients(network) as every:
        for node, client in zip(network.topology.nodes, every, strict=True):
            await head_when(client, lambda head: head.height >= 1)
            with anyio.fail_after(DEADLINE):
                while (peers := await client.peers()) != network.topology.peers_of(node.name):
                    assert peers < network.topology.peers_of(node.name)
                    await anyio.sleep(0.05)


async def test_a_transaction_is_included_and_every_node_shows_it(network: RealNetwork) -> None:
    transaction = network.network.transactions(random.Random(1)).make(0)
    async with clients(network) as every:
        start = await head_when(every[0], lambda head: head.height >= 1)
        receipt = await every[0].submit(transaction)
        assert receipt.accepted, receipt.reason
        included = None
        with anyio.fail_after(DEADLINE):
            async with aclosing(every[0].follow(start.height)) as headers:  # type: ignore[type-var]
                async for header in headers:
                    if header.tx_count:
                        included = header
                        break
        assert included is not None
        for client in every:
            await head_when(client, lambda head: head.height >= included.height)
            assert transaction.id in (await client.block(included.hash, included.height)).tx_ids


def transaction_of(payload: bytes) -> Transaction:
    return Transaction(hashlib.sha256(payload).hexdigest().upper(), payload, 0)


async def test_what_is_not_valid_is_rejected_with_a_reason(network: RealNetwork) -> None:
    twice = network.network.transactions(random.Random(2)).make(1)
    async with clients(network, "validator-1") as (client,):
        await head_when(client, lambda head: head.height >= 1)
        assert (await client.submit(twice)).accepted
        again = await client.submit(twice)
        malformed = await client.submit(transaction_of(b"no key and no value"))
        large = await client.submit(transaction_of(b"key=" + b"x" * 1048576))
    assert (again.accepted, again.reason) == (False, "tx already exists in cache")
    assert (malformed.accepted, malformed.reason) == (False, "code 2")
    assert not large.accepted
    assert "too large" in large.reason, large.reason


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_node_that_was_ended_comes_back_and_catches_up(network: RealNetwork, number: int) -> None:
    name = "validator-3"
    async with clients(network, "validator-0", name) as (other, client):
        await head_when(client, lambda head: head.height >= 1)
        code = network.end(name, number)
        assert code == (-number if number == signal.SIGKILL else 0)
        with pytest.raises(Unreachable):
            await client.head()
        left = await head_when(other, lambda head: True)
        missed = await head_when(other, lambda head: head.height >= left.height + 3)
        network.start(name)
        back = await head_when(client, lambda head: head.height >= missed.height and not head.syncing)
        theirs = await chain_up_to(other, back.height)
        assert theirs[back.height - 1].hash == back.hash
        # And it votes again: it proposes a block.
        with anyio.fail_after(DEADLINE):
            async with aclosing(other.follow(back.height)) as headers:  # type: ignore[type-var]
                async for header in headers:
                    if header.proposer == name:
                        break


def panics(network: RealNetwork, name: str) -> list[str]:
    """Lines of the node's log that match one of its panic patterns."""
    patterns = network.launch(name).panic_patterns
    lines = network.log(name).read_text(errors="replace").splitlines()
    return [line for line in lines if any(re.search(pattern, line) for pattern in patterns)]


async def test_no_log_of_an_undisturbed_node_matches_a_panic_pattern(network: RealNetwork) -> None:
    async with clients(network) as every:
        for client in every:
            await head_when(client, lambda head: head.height >= 1)
    for node in network.topology.nodes:
        assert network.log(node.name).stat().st_size
        assert panics(network, node.name) == []


async def test_without_a_quorum_nothing_moves_and_the_mempool_fills(start_network: Callable[..., RealNetwork]) -> None:
    alone = start_network("star", {"mempool_size": 2})
    alone.start("validator-0")
    make = alone.network.transactions(random.Random(3)).make
    async with clients(alone, "validator-0") as (client,):
        head = await head_when(client, lambda head: True)
        assert (head.height, head.syncing) == (0, True)
        assert [(await client.submit(make(0))).accepted for _ in range(2)] == [True, True]
        full = await client.submit(make(0))
        assert not full.accepted
        assert full.reason.startswith("mempool is full")
        assert await client.pending() == 2
        assert await client.peers() == frozenset()
        with anyio.move_on_after(0.5) as scope:
            await anext(client.follow(0))
        assert scope.cancelled_caught


async def test_a_consensus_failure_shows_in_the_log(start_network: Callable[..., RealNetwork]) -> None:
    """The process lives on, and its RPC answers, but the engine has stopped: only the log tells why."""
    lone = start_network("star", validators=1, full=0)
    lone.start()
    async with clients(lone, "validator-0") as (client,):
        await head_when(client, lambda head: head.height >= 2)
        (lone.home("validator-0") / "data").rename(lone.home("validator-0") / "gone")  # it cannot note what it signs
        with anyio.fail_after(DEADLINE):
            while not panics(lone, "validator-0"):
                await client.head()
                await anyio.sleep(0.05)
        await client.head()
