"""Transfers that every node must refuse, one defect each."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from harness_devnet.node.codec import MAX_INT, Malformed, decode_object, digest, encode
from harness_devnet.node.genesis import Genesis
from harness_devnet.node.mempool import MAX_NONCE_GAP
from harness_devnet.node.transactions import Rejected, body, parse, sender_signed

KINDS = frozenset(
    {
        "bad-signature", "insufficient-funds", "wrong-nonce", "replay", "malformed", "truncated", "oversized",
        "wrong-chain", "duplicate-in-batch", "unknown-fields", "random", "mutated",
    }
)  # fmt: skip
_MAX_RANDOM = 512
_MAX_EDITS = 4

Signed = Callable[[Mapping[str, Any]], dict[str, Any]]


def payload(
    kind: str, base: Mapping[str, Any], used: int | None, signed: Signed, genesis: Genesis, rng: random.Random
) -> bytes:
    """The bytes of a transfer that is as `base` (a sound body) but for this defect.

    `used` is a nonce that a final block holds already, where one is known; `signed` adds the sender's signature."""
    if kind == "bad-signature":
        sound = signed(base)
        sig = bytearray.fromhex(sound["sig"])
        sig[rng.randrange(len(sig))] ^= 1 << rng.randrange(8)
        return encode({**sound, "sig": sig.hex()})
    if kind == "insufficient-funds":
        total = sum(genesis.balances.values())
        return encode(signed({**base, "amount": min(total + rng.randint(1, 1000), MAX_INT)}))
    if kind == "wrong-nonce":
        ahead = base["nonce"] + 2 * MAX_NONCE_GAP + 10_000 + rng.randrange(10_000)
        return encode(signed({**base, "nonce": ahead if used is None or rng.random() < 0.5 else used}))
    if kind == "malformed":
        return _malformed(base, signed, rng)
    if kind == "truncated":
        sound_bytes = encode(signed(base))
        return sound_bytes[: rng.randrange(1, len(sound_bytes))]
    if kind == "oversized":
        return encode(signed({**base, "to": "0" * (genesis.limits.block_bytes + rng.randint(1, 1000))}))
    if kind == "wrong-chain":
        return encode(signed({**base, "chain": digest(rng.randbytes(32))}))
    if kind == "unknown-fields":
        return encode(signed({**base, f"x-{rng.getrandbits(32):x}": rng.getrandbits(32)}))
    if kind == "random":
        return rng.randbytes(rng.randint(1, _MAX_RANDOM))
    if kind == "mutated":
        return _mutated(encode(signed(base)), genesis, rng)
    raise ValueError(f"no kind {kind!r}")


def name(data: bytes) -> str:
    """The id under which a block would list these bytes, "" where none could."""
    try:
        return digest(encode(body(decode_object(data))))
    except Malformed:
        return ""


def _malformed(base: Mapping[str, Any], signed: Signed, rng: random.Random) -> bytes:
    field = rng.choice(sorted(base))
    junk: Any = rng.choice([None, True, -1, [], {}, "", MAX_INT + 1, "\ud800"])
    damage = rng.randrange(3)
    if damage == 0:
        return encode(signed({**base, field: junk}))
    if damage == 1:
        return encode(signed({other: value for other, value in base.items() if other != field}))
    return encode([signed(base)])


def _mutated(sound: bytes, genesis: Genesis, rng: random.Random) -> bytes:
    while True:
        data = bytearray(sound)
        for _ in range(rng.randint(1, _MAX_EDITS)):
            place = rng.randrange(len(data))
            how = rng.randrange(3)
            if how == 0:
                data[place] = rng.randrange(256)
            elif how == 1:
                data.insert(place, rng.randrange(256))
            else:
                del data[place]
        if not _sound(bytes(data), genesis):
            return bytes(data)


def _sound(data: bytes, genesis: Genesis) -> bool:
    """Whether a node might take this: a space between two fields, say, does no harm."""
    try:
        return sender_signed(parse(decode_object(data), genesis).raw)
    except (Malformed, Rejected):
        return False
