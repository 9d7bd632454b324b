"""The state that transactions change: accounts, channels, blobs. Immutable values that share what is equal.

A State is 256 buckets (by hash of the key), each with its digest; a new state copies the buckets that a block touched
and shares the rest. So every recent block can keep its own state, a reorganisation is choosing another one, and the
root costs a hash of the 256 digests."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from .codec import digest, encode
from .genesis import Genesis
from .misbehave import MINTED_AMOUNT
from .transactions import Rejected, Tx

_BUCKETS = 256

Value = tuple[int | str, ...]
Bucket = dict[str, Value]


@dataclass(frozen=True, slots=True)
class Account:
    """`nonce` is the one that its next transfer must carry."""

    balance: int = 0
    nonce: int = 0


@dataclass(frozen=True, slots=True)
class BlobRecord:
    """An inscribed blob: what is needed to ask for its shares and to check them."""

    root: str
    size: int
    channel: str


@lru_cache(maxsize=65536)
def _bucket_of(key: str) -> int:
    return hashlib.sha256(key.encode()).digest()[0]


def _bucket_digest(bucket: Bucket) -> bytes:
    return hashlib.sha256(encode(bucket)).digest()


_EMPTY_DIGEST = _bucket_digest({})


class State:
    """The ledger after some block. Read-only; `draft` makes the next one."""

    __slots__ = ("_buckets", "_digests", "root")

    def __init__(self, buckets: list[Bucket], digests: list[bytes]) -> None:
        self._buckets, self._digests = buckets, digests
        self.root = digest(b"".join(digests))

    @classmethod
    def at_genesis(cls, genesis: Genesis) -> State:
        empty = cls([{}] * _BUCKETS, [_EMPTY_DIGEST] * _BUCKETS)
        draft = empty.draft()
        for address, balance in genesis.balances.items():
            draft.put("a/" + address, (balance, 0))
        return draft.commit()

    def get(self, key: str) -> Value | None:
        return self._buckets[_bucket_of(key)].get(key)

    def account(self, address: str) -> Account:
        return _account(self.get("a/" + address))

    def blob(self, blob: str) -> BlobRecord | None:
        value = self.get("i/" + blob)
        return BlobRecord(str(value[1]), int(value[2]), str(value[3])) if value and value[0] == "blob" else None

    def channel_writes(self, channel: str) -> int:
        """How many inscriptions (blobs included) a channel holds."""
        value = self.get("c/" + channel)
        return int(value[0]) if value else 0

    def accounts(self) -> Iterator[tuple[str, Account]]:
        for bucket in self._buckets:
            for key, value in bucket.items():
                if key.startswith("a/"):
                    yield key[2:], _account(value)

    def draft(self) -> Draft:
        return Draft(self)

    def changed(self, changes: dict[str, Value]) -> State:
        """The state with these entries written."""
        buckets, digests = list(self._buckets), list(self._digests)
        touched: set[int] = set()
        for key, value in changes.items():
            index = _bucket_of(key)
            if index not in touched:
                touched.add(index)
                buckets[index] = dict(buckets[index])
            buckets[index][key] = value
        for index in touched:
            digests[index] = _bucket_digest(buckets[index])
        return State(buckets, digests)


def _account(value: Value | None) -> Account:
    return Account(int(value[0]), int(value[1])) if value else Account()


class Draft:
    """A state in the making. A transaction that is rejected leaves no trace in it."""

    def __init__(self, base: State) -> None:
        self._base = base
        self._changes: dict[str, Value] = {}

    def get(self, key: str) -> Value | None:
        return self._changes.get(key) or self._base.get(key)

    def put(self, key: str, value: Value) -> None:
        self._changes[key] = value

    def commit(self) -> State:
        return self._base.changed(self._changes)

    def apply(self, tx: Tx, proposer: str, lapse: str = "") -> None:
        """Carry out a transaction in a block of this proposer. Raises Rejected. `lapse` is the rule that is not kept
        to (misbehave), "" for none.

        Its form and signatures are taken as checked (transactions.parse, Verifier)."""
        if tx.kind == "transfer":
            self._transfer(tx, proposer, lapse)
        else:
            self._inscribe(tx)

    def _account(self, address: str) -> Account:
        return _account(self.get("a/" + address))

    def _transfer(self, tx: Tx, proposer: str, lapse: str) -> None:
        sender = self._account(tx.sender)
        check_nonce(tx.nonce, sender.nonce, lapse)
        if tx.nonce > sender.nonce:
            raise Rejected(f"nonce {tx.nonce} is ahead, next is {sender.nonce}")
        check_balance(tx.cost, sender.balance, lapse)
        self.put("a/" + tx.sender, (sender.balance - tx.cost, max(sender.nonce, tx.nonce + 1)))
        self._credit(tx.raw["to"], tx.raw["amount"] + MINTED_AMOUNT * (lapse == "mint"))
        self._credit(proposer, tx.raw["fee"])

    def _credit(self, address: str, amount: int) -> None:
        account = self._account(address)
        self.put("a/" + address, (account.balance + amount, account.nonce))

    def _inscribe(self, tx: Tx) -> None:
        if self.get("i/" + tx.id) is not None:
            raise Rejected("already included")
        raw = tx.raw
        blob = (raw["root"], raw["size"], raw["channel"]) if tx.kind == "blob" else ()
        self.put("i/" + tx.id, (tx.kind, *blob))
        key = "c/" + raw["channel"]
        writes, last = self.get(key) or (0, "")
        self.put(key, (int(writes) + 1, digest(f"{last}{tx.id}".encode())))


def check_nonce(nonce: int, expected: int, lapse: str = "") -> None:
    if nonce < expected and lapse != "accept-replay":
        raise Rejected(f"nonce {nonce} already used, next is {expected}")


def check_balance(cost: int, balance: int, lapse: str = "") -> None:
    if cost > balance and lapse != "negative-balance":
        raise Rejected(f"balance {balance} does not cover {cost}")


def supply(accounts: Iterable[tuple[str, Account]]) -> int:
    """The sum of all balances: constant from genesis on, as fees go to proposers."""
    return sum(account.balance for _, account in accounts)
