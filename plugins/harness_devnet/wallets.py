"""Keys from the seed, and the transactions that wallets sign with them."""

from __future__ import annotations

import hashlib
import heapq
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harness.api import Transaction, TransactionFactory, Wallet
from harness_devnet import invalid
from harness_devnet.node.codec import digest, encode
from harness_devnet.node.genesis import FEE, Genesis
from harness_devnet.node.transactions import transfer

MAX_AMOUNT = 10


def secret(seed: int, kind: str, name: str) -> bytes:
    """The 32-byte Ed25519 secret of a node or wallet of the network with this seed."""
    return hashlib.sha256(f"harness-devnet/{seed}/{kind}/{name}".encode()).digest()


def address(secret: bytes) -> str:
    """An account's address is its public key in hex."""
    return Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw().hex()


class Transfers(TransactionFactory):
    """Signed transfers of 1 to MAX_AMOUNT between the wallets, the recipient and amount drawn from `rng`.

    The fee goes to the proposer's account, which is no wallet, so `effects` is exact for all wallets. `nonces` are
    those to begin with, where they are not 0."""

    def __init__(
        self,
        genesis: Genesis,
        seed: int,
        wallets: Sequence[Wallet],
        rng: random.Random,
        nonces: Mapping[int, int] | None = None,
    ) -> None:
        self._genesis = genesis
        self._chain = genesis.hash
        self._wallets = wallets
        self._rng = rng
        self._seed = seed
        self._keys: dict[int, Ed25519PrivateKey] = {}  # of those that have sent: most of many wallets never do
        self._next: defaultdict[int, int] = defaultdict(int, nonces or {})
        self._released: defaultdict[int, list[int]] = defaultdict(list)

    def make(self, sender: int) -> Transaction:
        wallet = self._wallets[sender]
        to = self._recipient(sender)
        amount = self._rng.randint(1, MAX_AMOUNT)
        body = transfer(self._chain, wallet.address, to.address, amount, self._take_nonce(sender))
        payload = encode(self._signed(sender, body))
        effects = {wallet.address: -amount - FEE}
        effects[to.address] = effects.get(to.address, 0) + amount
        return Transaction(digest(encode(body)), payload, sender, body["nonce"], effects)

    def invalid(self, kind: str, sender: int, settled: Transaction | None = None) -> Transaction:
        """Amounts are beyond those of `make`, so that no valid transfer has the same id."""
        if kind == "replay":
            if settled is None:
                raise LookupError("there is nothing to replay")
            return settled
        wallet = self._wallets[sender]
        to, amount = self._recipient(sender).address, MAX_AMOUNT + self._rng.randint(1, 100)
        base = transfer(self._chain, wallet.address, to, amount, self._next[sender])
        used = settled.nonce if settled else None
        data = invalid.payload(kind, base, used, lambda body: self._signed(sender, body), self._genesis, self._rng)
        return Transaction(invalid.name(data), data, sender)

    def _signed(self, sender: int, body: Mapping[str, Any]) -> dict[str, Any]:
        return {**body, "sig": self._key(sender).sign(encode(body)).hex()}

    def _key(self, sender: int) -> Ed25519PrivateKey:
        if sender not in self._keys:
            name = str(self._wallets[sender].index)
            self._keys[sender] = Ed25519PrivateKey.from_private_bytes(secret(self._seed, "wallet", name))
        return self._keys[sender]

    def _recipient(self, sender: int) -> Wallet:
        """Another wallet; its own where there is no other."""
        if len(self._wallets) == 1:
            return self._wallets[0]
        index = self._rng.randrange(len(self._wallets) - 1)
        return self._wallets[index + (index >= sender)]

    def _take_nonce(self, sender: int) -> int:
        if self._released[sender]:
            return heapq.heappop(self._released[sender])
        self._next[sender] += 1
        return self._next[sender] - 1

    def release(self, transaction: Transaction) -> None:
        """Its nonce is used again by the sender's next transaction."""
        sender, nonce = transaction.sender, transaction.nonce
        if nonce < self._next[sender] and nonce not in self._released[sender]:
            heapq.heappush(self._released[sender], nonce)

    def resync(self, sender: int, nonce: int) -> None:
        """The sender's next transaction carries this nonce; what was released before is void."""
        self._next[sender] = nonce
        self._released[sender].clear()
