"""What all nodes of a network agree on before its first block. Its hash names the chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .codec import MAX_INT, Malformed, decode_object, digest, encode, hex_field, is_hex, natural
from .codec import field as json_field

FEE = 1
"""What a transfer costs, in the base unit. It goes to the proposer, so the sum of all balances is constant."""

MAX_SHARES = 255
"""Points of GF(256) that erasure coding can use bound the number of validators."""


@dataclass(frozen=True, slots=True)
class Member:
    """A node of the network. `stake` is 0 for an executor; `threshold` is the lottery's: a draw below it wins.

    Thresholds are in genesis, not computed by nodes: a power function that rounds otherwise elsewhere would split
    the network."""

    name: str
    role: str
    key: str
    stake: int
    threshold: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes. `block_txs`: transactions in a block."""

    block_txs: int = 1000
    block_bytes: int = 1 << 20
    inscription_bytes: int = 16 << 10
    blob_bytes: int = 1 << 20


@dataclass(frozen=True)
class Genesis:
    """Times in microseconds, Unix. Slot s ≥ 1 lasts from time + s·slot to time + (s+1)·slot; slot 0 is genesis.

    `document` is the JSON object that all this was read from."""

    time: int
    slot: int
    epoch_slots: int
    k: int
    seed: str
    members: tuple[Member, ...]
    balances: Mapping[str, int]
    limits: Limits
    hash: str
    document: Mapping[str, Any]
    validators: tuple[Member, ...] = field(init=False)
    by_key: Mapping[str, Member] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "validators", tuple(m for m in self.members if m.role == "validator"))
        object.__setattr__(self, "by_key", {m.key: m for m in self.members})

    @property
    def shares(self) -> int:
        """n: shares that a blob is coded into, one for each validator."""
        return len(self.validators)

    @property
    def needed_shares(self) -> int:
        """d: shares that reconstruct it, and attestations that let its inscription into a block."""
        return len(self.validators) // 2 + 1

    def slot_start(self, slot: int) -> float:
        """Unix seconds."""
        return (self.time + slot * self.slot) / 1e6

    def slot_at(self, now: float) -> int:
        """The slot in which this moment (Unix seconds) lies; negative before genesis."""
        return (round(now * 1e6) - self.time) // self.slot


def parse(data: bytes | dict[str, Any]) -> Genesis:
    """Read a genesis document. Raises Malformed."""
    doc = decode_object(data) if isinstance(data, bytes) else data
    members = []
    for entry in json_field(doc, "members", list):
        if not isinstance(entry, dict):
            raise Malformed("a member is not an object")
        role = json_field(entry, "role", str)
        if role not in ("validator", "executor"):
            raise Malformed(f"no role {role!r}")
        members.append(
            Member(
                name=json_field(entry, "name", str),
                role=role,
                key=hex_field(entry, "key", 32),
                stake=natural(entry, "stake"),
                threshold=int(hex_field(entry, "threshold", 32), 16),
            )
        )
    limits = json_field(doc, "limits", dict)
    genesis = Genesis(
        time=natural(doc, "time"),
        slot=natural(doc, "slot"),
        epoch_slots=natural(doc, "epoch_slots"),
        k=natural(doc, "k"),
        seed=hex_field(doc, "seed", 32),
        members=tuple(members),
        balances={address: natural(doc["balances"], address) for address in json_field(doc, "balances", dict)},
        limits=Limits(**{name: natural(limits, name) for name in Limits.__slots__}),
        hash=digest(encode(doc)),
        document=doc,
    )
    if not (genesis.slot and genesis.epoch_slots and genesis.k):
        raise Malformed("slot, epoch_slots and k must be positive")
    if not 1 <= genesis.shares <= MAX_SHARES:
        raise Malformed(f"1 to {MAX_SHARES} validators, not {genesis.shares}")
    if not all(is_hex(address, 32) for address in genesis.balances):
        raise Malformed("an address is not 32 bytes of hex")
    if sum(genesis.balances.values()) > MAX_INT:
        raise Malformed("the total supply is out of range")
    return genesis
