"""Ed25519: RFC 8032's vectors, and agreement of the two implementations on good, bad and odd input."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness_devnet.node import ed25519

# RFC 8032 §7.1: secret, public key, message, signature.
VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("secret", "public", "message", "signature"), VECTORS)
def test_rfc_8032_vectors(secret, public, message, signature):
    secret, public, message, signature = map(bytes.fromhex, (secret, public, message, signature))
    assert ed25519.pure_public_key(secret) == ed25519.public_key(secret) == public
    assert ed25519.pure_sign(secret, message) == ed25519.sign(secret, message) == signature
    assert ed25519.pure_verify(public, message, signature)
    assert ed25519.verify(public, message, signature)


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=80), st.integers(0, 95 * 8), st.data())
def test_both_implementations_agree_on_damaged_input(secret, message, bit, data):
    public = ed25519.public_key(secret)
    blob = bytearray(public + ed25519.pure_sign(secret, message))
    if bit < 95 * 8:
        blob[bit // 8] ^= 1 << bit % 8
    key, signature = bytes(blob[:32]), bytes(blob[32:])
    good = bytes(blob) == public + ed25519.sign(secret, message)
    assert ed25519.verify(key, message, signature) is good
    if ed25519._canonical(key, signature):
        assert ed25519.pure_verify(key, message, signature) is good


@pytest.mark.parametrize(
    "public",
    [
        (1).to_bytes(32, "little"),  # the neutral element
        (ed25519.P - 1).to_bytes(32, "little"),  # of order 2
        (0).to_bytes(32, "little"),  # of order 4
        (2).to_bytes(32, "little"),  # no point has this y
    ],
)
def test_odd_keys_are_judged_alike(public):
    for s in (0, 1):
        for r in (public, (1).to_bytes(32, "little")):
            signature = r + s.to_bytes(32, "little")
            assert ed25519.pure_verify(public, b"m", signature) is ed25519._verify(public, b"m", signature)


def test_non_canonical_input_is_refused():
    secret = bytes(range(32))
    public, signature = ed25519.public_key(secret), ed25519.sign(secret, b"m")
    s = int.from_bytes(signature[32:], "little")
    assert ed25519.verify(public, b"m", signature)
    assert not ed25519.verify(public, b"m", signature[:32] + (s + ed25519.L).to_bytes(32, "little"))
    assert not ed25519.verify((ed25519.P + 1).to_bytes(32, "little"), b"m", signature)
    assert not ed25519.verify((1 | 1 << 255).to_bytes(32, "little"), b"m", signature)
    assert not ed25519.verify(public[:31], b"m", signature)
    assert not ed25519.verify(public, b"m", signature + b"\0")
