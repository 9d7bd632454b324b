"""Transactions of the kvstore application: `key=value`, exactly one `=` and no `:` (its `isValidTx`)."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Sequence

from harness.api import Transaction, TransactionFactory, Wallet


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
