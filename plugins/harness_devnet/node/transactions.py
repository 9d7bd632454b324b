"""Transactions: their form, their ids, their signatures.

    transfer  {kind, chain, from, to, amount, fee, nonce, sig}            moves value, signed by a wallet
    channel   {kind, chain, from, channel, data, salt, sig}               an executor's inscription
    blob      {kind, chain, from, channel, root, size, shares, needed, salt, sig, attestations}
                                                                          a dispersed blob's inscription

The id is the digest of the body: all fields but `sig` and `attestations`, so it is known before those are. Blocks
commit to the whole, so nobody can swap a witness once it is in a block. Inscriptions cost nothing: only executors
named in genesis can sign them. Each id enters the chain once: by its nonce for a transfer, by the ledger's record
for an inscription."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from . import ed25519
from .codec import Malformed, digest, encode, field, hex_field, natural
from .genesis import FEE, Genesis

MAX_CHANNEL_NAME = 64

_FIELDS = {
    "transfer": frozenset({"kind", "chain", "from", "to", "amount", "fee", "nonce", "sig"}),
    "channel": frozenset({"kind", "chain", "from", "channel", "data", "salt", "sig"}),
    "blob": frozenset(
        {"kind", "chain", "from", "channel", "root", "size", "shares", "needed", "salt", "sig", "attestations"}
    ),
}
_WITNESS = frozenset({"sig", "attestations"})


class Rejected(Exception):
    """A transaction that this node does not take; the text says why."""


@dataclass(frozen=True, slots=True)
class Tx:
    """A transaction of the right form; whether it is signed and valid is another matter. `raw` is its JSON value."""

    id: str
    kind: str
    sender: str
    raw: dict[str, Any]
    size: int
    witnessed: str
    """Digest of the whole, signatures included."""

    @property
    def nonce(self) -> int:
        return int(self.raw["nonce"])

    @property
    def cost(self) -> int:
        """What it takes from its sender's balance."""
        return int(self.raw["amount"]) + int(self.raw["fee"]) if self.kind == "transfer" else 0


def body(raw: dict[str, Any]) -> dict[str, Any]:
    """What is signed and named: all but signatures and attestations."""
    return {name: value for name, value in raw.items() if name not in _WITNESS}


def signed(raw: dict[str, Any], secret: bytes) -> dict[str, Any]:
    """This body with its sender's signature."""
    return {**raw, "sig": ed25519.sign(secret, encode(body(raw))).hex()}


def transfer(chain: str, sender: str, to: str, amount: int, nonce: int) -> dict[str, Any]:
    """The unsigned body of a transfer."""
    return {
        "kind": "transfer", "chain": chain, "from": sender, "to": to, "amount": amount, "fee": FEE, "nonce": nonce,
    }  # fmt: skip


def attested_message(chain: str, blob: str, index: int) -> bytes:
    """What a validator signs to attest that it holds share `index` of a blob."""
    return encode({"attest": blob, "chain": chain, "index": index})


def channel_name(raw: dict[str, Any]) -> str:
    name = field(raw, "channel", str)
    if not 0 < len(name) <= MAX_CHANNEL_NAME or not name.isprintable():
        raise Malformed(f"channel must be 1 to {MAX_CHANNEL_NAME} printable characters")
    return name


def base64_field(raw: dict[str, Any], name: str, limit: int) -> bytes:
    text = field(raw, name, str)
    try:
        data = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed(f"{name} is not base64") from None
    if len(data) > limit:
        raise Rejected(f"{name} has {len(data)} bytes, {limit} are allowed")
    return data


def parse(raw: object, genesis: Genesis) -> Tx:
    """Check the form. Raises Malformed, or Rejected for what is well-formed but not for this chain."""
    if not isinstance(raw, dict):
        raise Malformed("a transaction is not an object")
    kind = field(raw, "kind", str)
    if kind not in _FIELDS:
        raise Rejected(f"no transaction kind {kind[:32]!r}")
    if raw.keys() != _FIELDS[kind]:
        wrong = sorted(map(str, _FIELDS[kind] ^ raw.keys()))[0]
        raise Malformed(f"{wrong[:32]!r} is {'missing' if wrong in _FIELDS[kind] else 'not a field of ' + kind}")
    if field(raw, "chain", str) != genesis.hash:
        raise Rejected("for another chain")
    sender = hex_field(raw, "from", 32)
    hex_field(raw, "sig", 64)
    {"transfer": _check_transfer, "channel": _check_channel, "blob": _check_blob}[kind](raw, genesis)
    whole, named = encode(raw), encode(body(raw))
    return Tx(digest(named), kind, sender, raw, len(whole), digest(whole))


def _check_transfer(raw: dict[str, Any], genesis: Genesis) -> None:
    hex_field(raw, "to", 32)
    natural(raw, "nonce")
    if natural(raw, "amount") == 0:
        raise Rejected("amount is 0")
    if natural(raw, "fee") != FEE:
        raise Rejected(f"fee is {raw['fee']}, it must be {FEE}")


def _check_channel(raw: dict[str, Any], genesis: Genesis) -> None:
    channel_name(raw)
    hex_field(raw, "salt", 16)
    base64_field(raw, "data", genesis.limits.inscription_bytes)


def check_blob_body(raw: dict[str, Any], genesis: Genesis) -> None:
    """The form of a blob's commitment, before anybody has attested."""
    channel_name(raw)
    hex_field(raw, "salt", 16)
    hex_field(raw, "root", 32)
    if natural(raw, "size") > genesis.limits.blob_bytes:
        raise Rejected(f"a blob of {raw['size']} bytes, {genesis.limits.blob_bytes} are allowed")
    if (natural(raw, "shares"), natural(raw, "needed")) != (genesis.shares, genesis.needed_shares):
        raise Rejected(f"this chain codes blobs {genesis.needed_shares} of {genesis.shares}")


def _check_blob(raw: dict[str, Any], genesis: Genesis) -> None:
    check_blob_body(raw, genesis)
    attestations = field(raw, "attestations", dict)
    if len(attestations) < genesis.needed_shares:
        raise Rejected(f"{len(attestations)} attestations, {genesis.needed_shares} are needed")
    if len(attestations) > genesis.shares:
        raise Rejected("more attestations than validators")
    indices = {str(index) for index in range(genesis.shares)}
    for index in attestations:
        if index not in indices:
            raise Malformed("an attestation by no validator")
        hex_field(attestations, index, 64)


def sender_signed(raw: dict[str, Any]) -> bool:
    """Whether the sender's signature of the body is good."""
    return ed25519.verify(bytes.fromhex(raw["from"]), encode(body(raw)), bytes.fromhex(raw["sig"]))


class Verifier:
    """Checks signatures, each transaction's once: what came by gossip is not verified again in its block."""

    REMEMBERED = 50_000

    def __init__(self, genesis: Genesis) -> None:
        self._genesis = genesis
        self._good: OrderedDict[str, None] = OrderedDict()

    def check(self, tx: Tx) -> None:
        """Raises Rejected when a signature is bad or the signer is not entitled."""
        if tx.witnessed in self._good:
            return
        if tx.kind != "transfer":
            member = self._genesis.by_key.get(tx.sender)
            if member is None or member.role != "executor":
                raise Rejected("only an executor of this chain may inscribe")
        if not sender_signed(tx.raw):
            raise Rejected("bad signature")
        if tx.kind == "blob":
            for index, signature in tx.raw["attestations"].items():
                key = bytes.fromhex(self._genesis.validators[int(index)].key)
                message = attested_message(self._genesis.hash, tx.id, int(index))
                if not ed25519.verify(key, message, bytes.fromhex(signature)):
                    raise Rejected(f"bad attestation {index}")
        self._good[tx.witnessed] = None
        if len(self._good) > self.REMEMBERED:
            self._good.popitem(last=False)
