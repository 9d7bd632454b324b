from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness_devnet.node import transactions
from harness_devnet.node.codec import Malformed
from harness_devnet.node.genesis import FEE
from harness_devnet.node.ledger import State, supply
from harness_devnet.node.transactions import Rejected, Verifier, parse, signed

TRANSFER = st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(1, 400), st.integers(0, 3))


@settings(max_examples=50, deadline=None)
@given(st.lists(TRANSFER, max_size=25))
def test_supply_is_conserved_and_balances_follow_a_naive_model(keys, operations):
    keys = keys(wallets=4, balance=500)
    proposer = keys.genesis.validators[0].key
    draft = State.at_genesis(keys.genesis).draft()
    balances, nonces, fees = [500] * 4, [0] * 4, 0
    for sender, to, amount, nonce_error in operations:
        nonce = nonces[sender] + (nonce_error - 1 if nonce_error in (0, 2) else 0)
        tx = keys.tx(sender, to, amount, max(0, nonce))
        possible = max(0, nonce) == nonces[sender] and amount + FEE <= balances[sender]
        if not possible:
            with pytest.raises(Rejected):
                draft.apply(tx, proposer)
            continue
        draft.apply(tx, proposer)
        balances[sender] -= amount + FEE
        balances[to] += amount
        nonces[sender] += 1
        fees += FEE
    state = draft.commit()
    assert [state.account(a).balance for a in keys.addresses] == balances
    assert [state.account(a).nonce for a in keys.addresses] == nonces
    assert state.account(proposer).balance == fees
    assert supply(state.accounts()) == 4 * 500


def test_the_root_depends_on_the_content_alone(keys):
    keys = keys()
    start = State.at_genesis(keys.genesis)
    a, b = start.draft(), start.draft()
    a.put("a/x", (1, 0))
    a.put("a/y", (2, 0))
    b.put("a/y", (2, 0))
    b.put("a/x", (7, 7))
    half = b.commit()
    c = half.draft()
    c.put("a/x", (1, 0))
    assert a.commit().root == c.commit().root != half.root
    assert start.root == State.at_genesis(keys.genesis).root and start.get("a/x") is None


def test_reasons_say_what_is_wrong(keys):
    keys = keys(executors=1)
    state = State.at_genesis(keys.genesis)
    draft = state.draft()
    draft.apply(keys.tx(0, 1, 5, 0), "p")
    with pytest.raises(Rejected, match="nonce 0 already used, next is 1"):
        draft.apply(keys.tx(0, 1, 5, 0), "p")
    with pytest.raises(Rejected, match="nonce 3 is ahead, next is 1"):
        draft.apply(keys.tx(0, 1, 5, 3), "p")
    with pytest.raises(Rejected, match="balance 994 does not cover 1001"):
        draft.apply(keys.tx(0, 1, 1000, 1), "p")


def test_inscriptions_enter_once_and_channels_count_them(keys):
    keys = keys(executors=1)
    who = keys.identity("executor-0")
    raw = {
        "kind": "channel", "chain": keys.genesis.hash, "from": who.member.key, "channel": "news", "data": "aGk=",
        "salt": "00" * 16,
    }  # fmt: skip
    tx = parse(signed(raw, who.secret), keys.genesis)
    Verifier(keys.genesis).check(tx)
    draft = State.at_genesis(keys.genesis).draft()
    draft.apply(tx, "p")
    with pytest.raises(Rejected, match="already included"):
        draft.apply(tx, "p")
    other = parse(signed({**raw, "salt": "01" * 16}, who.secret), keys.genesis)
    draft.apply(other, "p")
    assert draft.commit().channel_writes("news") == 2


def test_only_executors_inscribe(keys):
    keys = keys(executors=1)
    for secret in (keys.secrets["validator-0"], keys.wallet_secrets[0]):
        key = transactions.ed25519.public_key(secret).hex()
        raw = {
            "kind": "channel", "chain": keys.genesis.hash, "from": key, "channel": "c", "data": "",
            "salt": "00" * 16,
        }  # fmt: skip
        with pytest.raises(Rejected, match="only an executor"):
            Verifier(keys.genesis).check(parse(signed(raw, secret), keys.genesis))


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        ({"chain": "00" * 32}, Rejected, "another chain"),
        ({"fee": FEE + 1}, Rejected, "fee is 2, it must be 1"),
        ({"amount": 0}, Rejected, "amount is 0"),
        ({"amount": -5}, Malformed, "amount is out of range"),
        ({"amount": True}, Malformed, "amount is not int"),
        ({"nonce": 2**63}, Malformed, "nonce is out of range"),
        ({"to": "AB" * 32}, Malformed, "to is not 32 bytes"),
        ({"note": "x"}, Malformed, "'note' is not a field of transfer"),
        ({"kind": "mint"}, Rejected, "no transaction kind 'mint'"),
    ],
)
def test_structure_is_checked(keys, change, error, reason):
    keys = keys()
    with pytest.raises(error, match=reason):
        parse({**keys.transfer(0, 1, 5, 0), **change}, keys.genesis)


def test_a_changed_transaction_has_a_bad_signature(keys):
    keys = keys()
    raw = keys.transfer(0, 1, 5, 0)
    verifier = Verifier(keys.genesis)
    good = parse(raw, keys.genesis)
    verifier.check(good)
    with pytest.raises(Rejected, match="bad signature"):
        verifier.check(parse({**raw, "amount": 6}, keys.genesis))
    with pytest.raises(Rejected, match="bad signature"):  # same id, another witness: not vouched for by the first
        swapped = parse({**raw, "sig": "00" * 64}, keys.genesis)
        assert swapped.id == good.id
        verifier.check(swapped)
