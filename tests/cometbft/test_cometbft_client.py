"""The client against a stand-in for a node, in its own time: what is asked, how often, and what is made of answers."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from harness.api import Address, BlockHeader, Transaction, Unreachable, Wallet
from harness_cometbft.client import CometClient, RpcError
from harness_cometbft.rpc import NO_EVIDENCE
from harness_cometbft.transactions import KeyValueFactory, transaction_id

pytestmark = pytest.mark.anyio

INTERVAL = 1.05
PROPOSER = "AB" * 20


class ManualClock:
    """Time passes only by sleeping."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += max(0.0, seconds)

    async def sleep_until(self, moment: float) -> None:
        await self.sleep(moment - self.time)


class StandIn:
    """A node that makes a block at each of `times`, and answers as CometBFT 0.38 does."""

    def __init__(self, clock: ManualClock, times: list[float]) -> None:
        self.clock = clock
        self.times = times
        self.branch = "A"
        self.calls: list[str] = []
        self.with_evidence: set[int] = set()
        self.answers: dict[str, Any] = {}

    @property
    def height(self) -> int:
        return sum(time <= self.clock.time for time in self.times)

    def hash(self, height: int) -> str:
        return f"{self.branch}{height:063X}"

    def _meta(self, height: int) -> dict[str, Any]:
        return {
            "block_id": {"hash": self.hash(height)},
            "header": {
                "height": str(height),
                "time": "2026-01-31T12:00:00.123456789Z",
                "last_block_id": {"hash": self.hash(height - 1) if height > 1 else ""},
                "proposer_address": PROPOSER,
                "evidence_hash": "F00D" if height in self.with_evidence else NO_EVIDENCE,
            },
            "num_txs": "2",
        }

    def _blockchain(self, first: int, last: int) -> Any:
        last = min(last, self.height)
        first = max(first, last - 19)
        if first > last:
            raise ValueError(f"min height {first} can't be greater than max height {last}")
        return {"last_height": str(self.height), "block_metas": [self._meta(h) for h in range(last, first - 1, -1)]}

    def _result(self, method: str, params: dict[str, str]) -> Any:
        if method in self.answers:
            return self.answers[method]
        if method == "status":
            latest = {"latest_block_height": str(self.height), "latest_block_hash": self.hash(self.height)}
            return {"sync_info": {**latest, "catching_up": False}}
        assert method == "blockchain"
        return self._blockchain(int(params["minHeight"]), int(params["maxHeight"]))

    def handle(self, request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        self.calls.append(asked["method"])
        try:
            return httpx.Response(200, json={"result": self._result(asked["method"], asked["params"])})
        except ValueError as error:
            return httpx.Response(
                200, json={"error": {"code": -32603, "message": "Internal error", "data": str(error)}}
            )


def client_of(clock: ManualClock, handle: Callable[[httpx.Request], httpx.Response]) -> CometClient:
    return CometClient(
        "validator-0",
        Address("192.0.2.1", 1),
        node_ids={"id-1": "validator-1"},
        proposers={PROPOSER: "validator-2"},
        block_interval=INTERVAL,
        clock=clock,
        transport=httpx.MockTransport(handle),
    )


async def take(headers: AsyncIterator[BlockHeader], count: int) -> list[BlockHeader]:
    return [await anext(headers) for _ in range(count)]


async def test_follow_gives_every_header_once_in_order_over_a_long_gap() -> None:
    clock = ManualClock()
    node = StandIn(clock, [0.0] * 47 + [1.0, 2.0])
    headers = await take(client_of(clock, node.handle).follow(0), 49)
    assert [header.height for header in headers] == list(range(1, 50))
    assert [header.parent for header in headers] == ["", *(header.hash for header in headers[:-1])]
    assert headers[0].proposer == "validator-2"
    assert headers[0].tx_count == 2
    assert headers[0].time == pytest.approx(1769860800.123456)
    assert node.calls[:3] == ["blockchain"] * 3


async def test_whom_a_blocks_evidence_is_against_is_told_with_its_header() -> None:
    clock = ManualClock()
    node = StandIn(clock, [0.0] * 3)
    node.with_evidence = {2}
    vote = {"type": "tendermint/DuplicateVoteEvidence", "value": {"vote_a": {"validator_address": PROPOSER}}}
    attack = {"type": "tendermint/LightClientAttackEvidence", "value": {"ByzantineValidators": [{"address": "CD"}]}}
    node.answers["block_by_hash"] = {"block": {"evidence": {"evidence": [vote, vote, attack]}}}
    headers = await take(client_of(clock, node.handle).follow(0), 3)
    assert [header.accused for header in headers] == [(), ("validator-2", "CD"), ()]
    assert node.calls == ["blockchain", "block_by_hash"]


async def test_follow_begins_after_the_given_height() -> None:
    clock = ManualClock()
    node = StandIn(clock, [0.0] * 30)
    (header,) = await take(client_of(clock, node.handle).follow(29), 1)
    assert header.height == 30


async def test_follow_waits_for_the_first_block() -> None:
    clock = ManualClock()
    node = StandIn(clock, [10.0])
    (header,) = await take(client_of(clock, node.handle).follow(0), 1)
    assert (header.height, clock.time) == (1, pytest.approx(10.0, abs=INTERVAL / 2))


async def test_follow_waits_for_a_node_that_fell_back() -> None:
    """It lost its data and is catching up: nothing above the given height is there yet."""
    clock = ManualClock()
    node = StandIn(clock, [0.0, 0.0, 5.0, 6.0, 7.0])
    (header,) = await take(client_of(clock, node.handle).follow(4), 1)
    assert header.height == 5


async def test_follow_is_prompt_and_cheap() -> None:
    """From any phase: each block is seen within an eighth of an interval once in step, at three looks a block."""
    for start in (0.3, 0.6, 0.9, 1.2):
        clock = ManualClock()
        rng = random.Random(start)
        times = [start]
        while len(times) < 200:
            times.append(times[-1] + INTERVAL * rng.uniform(0.97, 1.05))
        node = StandIn(clock, times)
        late = []
        headers = client_of(clock, node.handle).follow(0)
        for made in times:
            await anext(headers)
            late.append(clock.time - made)
        assert max(late[3:]) <= INTERVAL / 8
        assert len(node.calls) <= 3 * len(times)


async def test_follow_asks_seldom_while_nothing_comes() -> None:
    clock = ManualClock()
    node = StandIn(clock, [0.0, 1000.0])
    await take(client_of(clock, node.handle).follow(0), 2)
    assert len(node.calls) <= 2 * 1000 / INTERVAL + 20


async def test_a_final_block_that_changes_is_given_again() -> None:
    clock = ManualClock()
    node = StandIn(clock, [0.0, 0.0, 100.0])
    headers = client_of(clock, node.handle).follow(0)
    before = await take(headers, 2)
    node.branch = "B"
    after = await take(headers, 2)
    assert [(header.height, header.hash[0]) for header in before + after] == [(1, "A"), (2, "A"), (2, "B"), (3, "B")]


async def test_head_says_that_a_node_catches_up() -> None:
    sync = {"latest_block_height": "7", "latest_block_hash": "AA", "catching_up": True}
    node = StandIn(ManualClock(), [])
    node.answers["status"] = {"sync_info": sync}
    head = await client_of(node.clock, node.handle).head()
    assert (head.height, head.hash, head.final_height, head.syncing) == (7, "AA", 7, True)


async def test_a_stranger_among_the_peers_does_not_go_unnoticed() -> None:
    node = StandIn(ManualClock(), [])
    node.answers["net_info"] = {"peers": [{"node_info": {"id": "id-1"}}, {"node_info": {"id": "id-9"}}]}
    assert await client_of(node.clock, node.handle).peers() == {"validator-1", "id-9"}


async def test_block_reads_transactions_and_knows_when_there_is_none() -> None:
    node = StandIn(ManualClock(), [0.0])
    payload = b"key=value"
    whole = {**node._meta(1), "block": {"header": node._meta(1)["header"]}}
    whole["block"]["data"] = {"txs": [base64.b64encode(payload).decode()]}
    node.answers["block_by_hash"] = whole
    client = client_of(node.clock, node.handle)
    block = await client.block(node.hash(1), 1)
    assert block.tx_ids == (transaction_id(payload),)
    assert block.header.tx_count == 1
    node.answers["block_by_hash"] = {"block_id": {"hash": ""}, "block": None}
    with pytest.raises(LookupError):
        await client.block(node.hash(1), 1)


@pytest.mark.parametrize(
    "reason", ["tx already exists in cache", "mempool is full: number of txs 2 (max: 2), …", "Tx too large. Max size …"]
)
async def test_a_refusal_of_the_mempool_is_a_rejection(reason: str) -> None:
    answer = {"error": {"code": -32603, "message": "Internal error", "data": reason}}
    client = client_of(ManualClock(), lambda request: httpx.Response(200, json=answer))
    receipt = await client.submit(Transaction("ID", b"k=v", 0))
    assert (receipt.accepted, receipt.reason) == (False, reason)


async def test_any_other_error_on_submission_leaves_it_open() -> None:
    answer = {"error": {"code": -32603, "message": "Internal error", "data": "broadcast confirmation not received"}}
    client = client_of(ManualClock(), lambda request: httpx.Response(200, json=answer))
    with pytest.raises(RpcError, match="confirmation not received"):
        await client.submit(Transaction("ID", b"k=v", 0))


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"result": {}}', b'{"result": null}', b"\xff", b'{"error": 1}'])
async def test_what_is_no_answer_is_unreachable(body: bytes) -> None:
    client = client_of(ManualClock(), lambda request: httpx.Response(200, content=body))
    for ask in (client.head, client.peers, client.pending, client.version):
        with pytest.raises(Unreachable):
            await ask()


@pytest.mark.parametrize("error", [httpx.ConnectError("refused"), httpx.ReadTimeout("")])
async def test_silence_is_unreachable(error: httpx.HTTPError) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    client = client_of(ManualClock(), fail)
    with pytest.raises(Unreachable, match="validator-0: status: "):
        await client.head()
    with pytest.raises(Unreachable):
        await anext(client.follow(0))


def test_transactions_are_valid_unique_and_reproducible() -> None:
    wallets = [Wallet(index, f"wallet-{index}", 0) for index in range(2)]

    def made(seed: int) -> list[Transaction]:
        factory = KeyValueFactory(wallets, random.Random(seed))
        return [factory.make(index % 2) for index in range(50)]

    assert made(1) == made(1)
    every = made(1) + made(2)
    assert len({transaction.id for transaction in every}) == len(every)
    assert all(each.payload.count(b"=") == 1 and b":" not in each.payload for each in every)
    assert len({each.payload.split(b"=")[0] for each in every}) == len(every)
    assert [each.nonce for each in made(1)[:4]] == [0, 0, 1, 1]
