"""Transactions of the kvstore application: `key=value`, exactly one `=` and no `:` (its `isValidTx`)."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Sequence

from harness.api import Transaction, TransactionFactory, Wallet

INVALID_KINDS = frozenset({"malformed", "truncated", "oversized", "replay", "duplicate-in-batch", "random", "mutated"})
"""There are no signatures, nonces, funds or chain ids to get wrong, and no fields."""
MAX_TX_BYTES = 1 << 20
"""CometBFT's default bound of a transaction."""
_MAX_RANDOM = 512


def transaction_id(payload: bytes) -> str:
    """What CometBFT knows a transaction by."""
    return hashlib.sha256(payload).hexdigest().upper()


class KeyValueFactory(TransactionFactory):
    """Sets a key that nobody has set before. The application has no nonces; ours only keep the keys apart,
    with a random part so that two factories of a run do not meet; `run` is a part of them for networks that see more
    than one run."""

    def __init__(self, wallets: Sequence[Wallet], rng: random.Random, run: str = "") -> None:
        self._wallets = wallets
        self._rng = rng
        self._prefix = f"{run}/" if run else ""
        self._made: Counter[int] = Counter()

    def make(self, sender: int) -> Transaction:
        nonce = self._made[sender]
        self._made[sender] += 1
        value = f"{self._rng.getrandbits(64):016x}"
        payload = f"{self._prefix}{self._wallets[sender].address}/{nonce}/{value}={value}".encode()
        return Transaction(transaction_id(payload), payload, sender, nonce)

    def invalid(self, kind: str, sender: int, settled: Transaction | None = None) -> Transaction:
        """Keys begin with `!`, which those of `make` never do."""
        if kind == "replay":
            if settled is None:
                raise LookupError("there is nothing to replay")
            return settled
        key = f"!{self._wallets[sender].address}/{self._rng.getrandbits(64):016x}".encode()
        payload = self._damaged(kind, key)
        return Transaction(transaction_id(payload), payload, sender)

    def _damaged(self, kind: str, key: bytes) -> bytes:
        rng, sound = self._rng, key + b"=%016x" % self._rng.getrandbits(64)
        if kind == "malformed":
            return rng.choice([key, key + b"=", b"=" + key, sound + b"=1", key + b":1=1", key + b":", b"::"])
        if kind == "truncated":
            return sound[: rng.randint(1, len(key) + 1)]
        if kind == "oversized":
            return sound + b"0" * (MAX_TX_BYTES + rng.randrange(1000))
        while True:
            if kind == "random":
                payload = rng.randbytes(rng.randint(1, _MAX_RANDOM))
            elif kind == "mutated":
                place = rng.randrange(len(sound))
                payload = sound[:place] + rng.randbytes(rng.randrange(3)) + sound[place + rng.randrange(2) :]
            else:
                raise ValueError(f"no kind {kind!r}")
            if not _may_be_valid(payload):
                return payload


def _may_be_valid(payload: bytes) -> bool:
    """The application's `isValidTx`, and everything that it might take for a change of validators."""
    separators = payload.count(b"=") + payload.count(b":")
    bare = not payload.startswith((b"=", b":")) and not payload.endswith((b"=", b":"))
    return not payload or payload.startswith(b"val") or (separators == 1 and bare)
