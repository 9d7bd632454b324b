from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness_devnet.node import erasure


@st.composite
def coded(draw):
    count = draw(st.integers(1, 12))
    needed = draw(st.integers(1, count))
    blob = draw(st.binary(max_size=200))
    chosen = draw(st.permutations(range(count)))[:needed]
    return blob, needed, count, chosen


@settings(deadline=None)
@given(coded())
def test_any_d_of_n_give_the_blob_back(case):
    blob, needed, count, chosen = case
    shares = erasure.encode(blob, needed, count)
    assert len(shares) == count and {len(s) for s in shares} == {erasure.share_size(len(blob), needed)}
    assert b"".join(shares[:needed])[: len(blob)] == blob
    assert erasure.decode({i: shares[i] for i in chosen}, needed, len(blob)) == blob


def test_every_subset_of_a_small_code():
    shares = erasure.encode(b"every subset", 3, 6)
    for chosen in itertools.combinations(range(6), 3):
        assert erasure.decode({i: shares[i] for i in chosen}, 3, 12) == b"every subset"
    with pytest.raises(ValueError, match="2 shares, 3 are needed"):
        erasure.decode({0: shares[0], 5: shares[5]}, 3, 12)


def test_largest_code():
    shares = erasure.encode(b"x" * 1000, 128, 255)
    assert erasure.decode({i: shares[i] for i in range(127, 255)}, 128, 1000) == b"x" * 1000


@settings(deadline=None)
@given(st.integers(1, 255), st.integers(1, 255), st.integers(0, 255))
def test_the_field_is_a_field(a, b, c):
    assert erasure.multiply(a, erasure.inverse(a)) == 1
    assert erasure.multiply(a, b) == erasure.multiply(b, a) != 0
    assert erasure.multiply(a, b ^ c) == erasure.multiply(a, b) ^ erasure.multiply(a, c)
    assert erasure.multiply(a, erasure.multiply(b, c)) == erasure.multiply(erasure.multiply(a, b), c)


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=8), min_size=1, max_size=17), st.data())
def test_the_commitment_holds_each_share_at_its_place_and_no_other(shares, data):
    root, proofs = erasure.merkle_root(shares), erasure.merkle_proofs(shares)
    count = len(shares)
    for i, share in enumerate(shares):
        assert erasure.in_commitment(root, share, i, count, proofs[i])
    i = data.draw(st.integers(0, count - 1))
    wrong = bytearray(shares[i])
    bit = data.draw(st.integers(0, 8 * len(wrong) - 1))
    wrong[bit // 8] ^= 1 << bit % 8
    assert not erasure.in_commitment(root, bytes(wrong), i, count, proofs[i])
    j = data.draw(st.integers(-1, count))
    if j != i:
        assert not erasure.in_commitment(root, shares[i], j, count, proofs[i])
    assert not erasure.in_commitment(root, shares[i], i, count, [*proofs[i], bytes(32)])
    if proofs[i]:
        assert not erasure.in_commitment(root, shares[i], i, count, proofs[i][:-1])
