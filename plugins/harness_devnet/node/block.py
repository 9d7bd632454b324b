"""Blocks: a signed header that commits to the parent, the transactions and the state after them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import ed25519
from .codec import Malformed, digest_of, encode, field, hex_field, natural
from .genesis import Genesis
from .transactions import Tx, parse

_HEADER = frozenset({"height", "slot", "parent", "proposer", "txs_root", "state_root", "sig"})


@dataclass(frozen=True, slots=True)
class Block:
    """A block of the right form. `hash` covers the header with its signature, so a hash names one block only."""

    hash: str
    height: int
    slot: int
    parent: str
    proposer: str
    txs_root: str
    state_root: str
    sig: str
    txs: tuple[Tx, ...]

    def signed_by_proposer(self) -> bool:
        unsigned = {name: value for name, value in self.header().items() if name != "sig"}
        return ed25519.verify(bytes.fromhex(self.proposer), encode(unsigned), bytes.fromhex(self.sig))

    def header(self) -> dict[str, Any]:
        return {
            "height": self.height, "slot": self.slot, "parent": self.parent, "proposer": self.proposer,
            "txs_root": self.txs_root, "state_root": self.state_root, "sig": self.sig,
        }  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        return {"header": self.header(), "txs": [tx.raw for tx in self.txs]}


def txs_root(txs: tuple[Tx, ...]) -> str:
    """Commits to the transactions with their signatures, in order."""
    return digest_of([tx.witnessed for tx in txs])


def seal(
    *, height: int, slot: int, parent: str, txs: tuple[Tx, ...], state_root: str, proposer: str, secret: bytes
) -> Block:
    """Sign a new block."""
    root = txs_root(txs)
    unsigned = {
        "height": height, "slot": slot, "parent": parent, "proposer": proposer, "txs_root": root,
        "state_root": state_root,
    }  # fmt: skip
    sig = ed25519.sign(secret, encode(unsigned)).hex()
    name = digest_of({**unsigned, "sig": sig})
    return Block(name, height, slot, parent, proposer, root, state_root, sig, txs)


def from_json(value: object, genesis: Genesis) -> Block:
    """Check the form, and that the transactions are those which the header names.

    Raises Malformed, or Rejected when a transaction is not for this chain."""
    if not isinstance(value, dict):
        raise Malformed("a block is not an object")
    header, raws = field(value, "header", dict), field(value, "txs", list)
    if header.keys() != _HEADER:
        raise Malformed("a block's header has other fields")
    if len(raws) > genesis.limits.block_txs:
        raise Malformed(f"{len(raws)} transactions in a block, {genesis.limits.block_txs} are allowed")
    txs = tuple(parse(raw, genesis) for raw in raws)
    if sum(tx.size for tx in txs) > genesis.limits.block_bytes:
        raise Malformed(f"a block's transactions exceed {genesis.limits.block_bytes} bytes")
    block = Block(
        hash=digest_of(header),
        height=natural(header, "height"),
        slot=natural(header, "slot"),
        parent=hex_field(header, "parent", 32),
        proposer=hex_field(header, "proposer", 32),
        txs_root=hex_field(header, "txs_root", 32),
        state_root=hex_field(header, "state_root", 32),
        sig=hex_field(header, "sig", 64),
        txs=txs,
    )
    if txs_root(txs) != block.txs_root:
        raise Malformed("a block's transactions are not those that its header names")
    return block
