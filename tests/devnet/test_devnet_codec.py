from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_devnet.node.codec import MAX_INT, Malformed, decode, decode_object, encode, field, hex_field, natural

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_encoding_round_trips_and_is_canonical(value):
    data = encode(value)
    assert data.isascii() and decode(data) == value
    assert encode(decode(data)) == data


@given(st.dictionaries(st.text(), st.integers(), max_size=6))
def test_the_order_of_keys_does_not_matter(value):
    assert encode(dict(reversed(value.items()))) == encode(value)


@given(st.binary(max_size=60))
def test_garbage_is_malformed_and_nothing_worse(data):
    with contextlib.suppress(Malformed):
        decode(data)


@pytest.mark.parametrize(
    "data", [b"1.0", b"NaN", b"1e3", b"{", b"\xff", b"[" * 100_000, b"-Infinity", b"1" * 5000], ids=lambda d: d[:8]
)
def test_what_is_not_canonical_json_is_malformed(data):
    with pytest.raises(Malformed):
        decode(data)


def test_too_deep_a_value_is_malformed_when_encoded():
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(Malformed):
        encode(value)
    while value:  # freed level by level: the interpreter would recurse
        value = value.pop()  # type: ignore[assignment]


def test_fields_are_of_exactly_their_type():
    assert natural({"n": MAX_INT}, "n") == MAX_INT
    for bad in (True, -1, MAX_INT + 1, "1", None):
        with pytest.raises(Malformed, match=r"^n "):
            natural({"n": bad}, "n")
    with pytest.raises(Malformed):
        field({"n": True}, "n", int)
    with pytest.raises(Malformed):
        decode_object(b"[]")
    assert hex_field({"h": "00ff"}, "h", 2) == "00ff"
    for bad in ("00FF", "00f", "00fg", "00ff00"):
        with pytest.raises(Malformed):
            hex_field({"h": bad}, "h", 2)
