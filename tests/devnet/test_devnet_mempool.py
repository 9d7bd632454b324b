from __future__ import annotations

import pytest

from harness_devnet.node import mempool as module
from harness_devnet.node.ledger import State
from harness_devnet.node.mempool import Mempool
from harness_devnet.node.transactions import Rejected


@pytest.fixture
def small(keys):
    return keys(balance=100)


@pytest.fixture
def pool(small):
    return Mempool(small.genesis, State.at_genesis(small.genesis))


def _nonces(chosen):
    return [(tx.sender[:4], tx.nonce) for tx in chosen]


def test_arrival_order_with_nonces_in_sequence(small, pool):
    late, early, other = small.tx(0, 1, 1, 1), small.tx(0, 1, 1, 0), small.tx(2, 1, 1, 0)
    for tx in (late, other, early):
        pool.add(tx)
    assert pool.next_nonce(small.addresses[0]) == 2
    chosen, state = pool.select(State.at_genesis(small.genesis), "p")
    assert chosen == (other, early, late)
    assert state.account(small.addresses[1]).balance == 103
    assert len(pool) == 3


def test_a_gap_waits(small, pool):
    pool.add(small.tx(0, 1, 1, 2))
    assert pool.next_nonce(small.addresses[0]) == 0
    assert pool.select(State.at_genesis(small.genesis), "p")[0] == ()
    pool.add(small.tx(0, 1, 1, 0))
    assert [tx.nonce for tx in pool.select(State.at_genesis(small.genesis), "p")[0]] == [0]


def test_refusals_give_reasons(small, pool):
    pool.add(small.tx(0, 1, 40, 0))
    with pytest.raises(Rejected, match="already in the mempool"):
        pool.add(small.tx(0, 1, 40, 0))
    with pytest.raises(Rejected, match="nonce 0 is already waiting, next is 1"):
        pool.add(small.tx(0, 2, 40, 0))
    with pytest.raises(Rejected, match="balance 100 does not cover 101"):
        pool.add(small.tx(0, 1, 59, 1))
    with pytest.raises(Rejected, match="too far ahead, next is 1"):
        pool.add(small.tx(0, 1, 1, 2 + module.MAX_NONCE_GAP))
    assert len(pool) == 1
    pool.add(small.tx(0, 1, 58, 1))


def test_bounds(small, pool, monkeypatch):
    monkeypatch.setattr(module, "MAX_PER_SENDER", 2)
    monkeypatch.setattr(module, "MAX_TOTAL", 3)
    for nonce in range(2):
        pool.add(small.tx(0, 1, 1, nonce))
    with pytest.raises(Rejected, match="2 transactions waiting"):
        pool.add(small.tx(0, 1, 1, 2))
    pool.add(small.tx(1, 0, 1, 0))
    with pytest.raises(Rejected, match="full"):
        pool.add(small.tx(2, 1, 1, 0))


def test_block_limits(keys):
    keys = keys(limits={"block_txs": 2}, balance=100)
    state = State.at_genesis(keys.genesis)
    pool = Mempool(keys.genesis, state)
    for nonce in range(3):
        pool.add(keys.tx(0, 1, 1, nonce))
    assert len(pool.select(state, "p")[0]) == 2
    tight = type(keys)(limits={"block_bytes": keys.tx(0, 1, 1, 0).size + 10}, balance=100)
    pool = Mempool(tight.genesis, state)
    for nonce in range(3):
        pool.add(tight.tx(0, 1, 1, nonce))
    assert [tx.nonce for tx in pool.select(State.at_genesis(tight.genesis), "p")[0]] == [0]


def test_included_leave_abandoned_return(small, pool):
    start = State.at_genesis(small.genesis)
    mine = [small.tx(0, 1, 1, nonce) for nonce in range(3)]
    for tx in mine:
        pool.add(tx)
    draft = start.draft()
    draft.apply(mine[0], "p")
    rival = small.tx(0, 2, 9, 1)  # another block holds another transaction with this nonce
    draft.apply(rival, "p")
    pool.move(draft.commit(), [mine[0], rival], [])
    assert [tx.nonce for tx in pool.all()] == [2]
    with pytest.raises(Rejected, match="nonce 1 already used, next is 2"):
        pool.add(mine[1])
    pool.move(start, [], [mine[0], rival])
    assert sorted(tx.nonce for tx in pool.all()) == [0, 1, 2]
    assert [tx.nonce for tx in pool.select(start, "p")[0]] == [0, 1, 2]
