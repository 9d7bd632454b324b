"""Which blocks a node takes, and what becomes of ledger and mempool when it changes its mind."""

from __future__ import annotations

import dataclasses

import pytest

from harness_devnet.node import block as blocks
from harness_devnet.node.blocktree import TooDeep, UnknownParent
from harness_devnet.node.consensus import Early, InvalidBlock, read_block
from harness_devnet.node.ledger import supply


def _sealed(keys, chain, slot, who, **change):
    fields = {
        "height": chain.head.height + 1,
        "slot": slot,
        "parent": chain.head.hash,
        "txs": (),
        "state_root": chain.state.root,
        "proposer": who.member.key,
        "secret": who.secret,
    }
    return blocks.seal(**{**fields, **change})


def test_a_good_block_moves_the_ledger(keys):
    keys = keys()
    chain, other = keys.chain(), keys.chain()
    tx = keys.tx(0, 1, 10, 0)
    chain.submit(tx)
    keys.extend(chain)
    (made,) = (chain.block(chain.head.hash),)
    assert made.txs == (tx,) and len(chain.mempool) == 0
    assert other.add(read_block(made.to_json(), keys.genesis)).adopted == (chain.head,)
    assert other.state.root == chain.state.root
    assert chain.state.account(keys.addresses[1]).balance == 1010
    assert supply(chain.state.accounts()) == 4000


def test_rules_of_headers(keys):
    keys = keys()
    chain = keys.chain(lambda: keys.genesis.slot_start(1000))
    keys.extend(chain, 3)
    slot, who = keys.led_slot(chain.head.slot)
    loser = next(m for m in keys.genesis.validators if not chain.lottery.leads(slot, m))
    no_leader = next(s for s in range(slot, 900) if not chain.lottery.leads(s, who.member))
    future, who_then = keys.led_slot(1001)
    bad = {
        "height": _sealed(keys, chain, slot, who, height=9),
        "after its parent": _sealed(keys, chain, chain.head.slot, who),
        "does not lead": _sealed(keys, chain, no_leader, who),
        "lead slot": _sealed(keys, chain, slot, keys.identity(loser.name)),
        "state root": _sealed(keys, chain, slot, who, state_root="00" * 32),
        "bad signature": _sealed(keys, chain, slot, who, secret=keys.secrets[loser.name]),
    }
    for reason, block in bad.items():
        with pytest.raises(InvalidBlock, match=reason):
            chain.add(block)
    with pytest.raises(Early):
        chain.add(_sealed(keys, chain, future, who_then))
    with pytest.raises(UnknownParent):
        chain.add(_sealed(keys, chain, slot, who, parent="00" * 32))
    wallet_secret = keys.wallet_secrets[0]
    with pytest.raises(InvalidBlock, match="does not lead"):
        chain.add(_sealed(keys, chain, slot, who, proposer=keys.addresses[0], secret=wallet_secret))
    assert chain.add(_sealed(keys, chain, slot, who)) is not None


def test_transactions_of_a_block_are_checked(keys):
    keys = keys()
    chain = keys.chain()
    slot, who = keys.led_slot()
    good = keys.tx(0, 1, 10, 0)
    forged = blocks.parse({**good.raw, "sig": "00" * 64}, keys.genesis)
    for txs, reason in (
        ((forged,), "bad signature"),
        ((keys.tx(0, 1, 10, 1),), "ahead"),
        ((keys.tx(0, 1, 5000, 0),), "does not cover"),
        ((good, good), "already used"),
    ):
        with pytest.raises(InvalidBlock, match=reason):
            chain.add(_sealed(keys, chain, slot, who, txs=txs))
    block = _sealed(keys, chain, slot, who, txs=(good,))
    swapped = block.to_json() | {"txs": [keys.transfer(0, 1, 11, 0)]}
    with pytest.raises(InvalidBlock, match="not those that its header names"):
        read_block(swapped, keys.genesis)
    for junk in (None, [], {"header": {}, "txs": []}, {"header": block.header(), "txs": [1]}, {"txs": []}):
        with pytest.raises(InvalidBlock):
            read_block(junk, keys.genesis)


def test_a_reorganisation_takes_transactions_back_and_states_are_pruned(keys):
    keys = keys(k=3)
    ours, theirs = keys.chain(), keys.chain()
    keys.extend(ours, 2)
    for height in (1, 2):
        theirs.add(ours.block(ours.tree.at(height).hash))
    tx = keys.tx(0, 1, 10, 0)
    ours.submit(tx)
    keys.extend(ours, 1)
    assert ours.state.account(keys.addresses[1]).balance == 1010
    keys.extend(theirs, 2, skip=3)
    for height in (3, 4):
        ours.add(theirs.block(theirs.tree.at(height).hash))
    assert ours.head == theirs.head and ours.state.root == theirs.state.root
    assert ours.mempool.all() == [tx] and ours.state.account(keys.addresses[1]).balance == 1000
    keys.extend(ours, 10)
    assert len(ours._states) == 4 and ours.final_state.account(keys.addresses[1]).balance == 1010


def test_chains_that_fork_deeper_than_k_stay_apart(keys):
    keys = keys(k=3)
    ours, theirs = keys.chain(), keys.chain()
    keys.extend(ours, 4)
    keys.extend(theirs, 6, skip=ours.tree.at(1).slot)
    first = theirs.block(theirs.tree.at(1).hash)
    assert first.hash != ours.tree.at(1).hash
    with pytest.raises(TooDeep, match="below the final height 1"):
        ours.add(first)


def test_equal_chains_are_settled_by_the_lower_draw(keys):
    keys = keys(f=0.9)
    chain = keys.chain()
    slot = next(s for s in range(1, 100) if len(chain.lottery.leaders(s)) > 1)
    rivals = [_sealed(keys, chain, slot, keys.identity(m.name)) for m in chain.lottery.leaders(slot)]
    best = min(rivals, key=lambda block: chain.lottery.draw(slot, block.proposer))
    for order in (rivals, rivals[::-1]):
        fresh = keys.chain()
        for block in order:
            fresh.add(block)
        assert fresh.head.hash == best.hash


def test_restoring_gives_the_same_chain_and_refuses_a_foreign_one(keys):
    keys_a, keys_b = keys(), keys(seed=1)
    chain = keys_a.chain()
    chain.submit(keys_a.tx(0, 1, 10, 0))
    keys_a.extend(chain, 5)
    again, foreign = keys_a.chain(), keys_b.chain()
    for height in range(1, 6):
        again.restore(chain._store.read(chain.tree.at(height).hash))
    assert again.head == chain.head and again.state.root == chain.state.root
    with pytest.raises(Exception, match=r"does not lead|UnknownParent|another chain|^[0-9a-f]{64}$"):
        foreign.restore(chain._store.read(chain.tree.at(1).hash))


def test_a_hash_names_header_and_signature(keys):
    keys = keys()
    slot, who = keys.led_slot()
    block = _sealed(keys, keys.chain(), slot, who)
    assert read_block(block.to_json(), keys.genesis) == block
    assert read_block(dataclasses.replace(block, sig="00" * 64).to_json(), keys.genesis).hash != block.hash
