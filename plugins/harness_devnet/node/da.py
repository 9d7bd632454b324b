"""Data availability: blobs coded into one share for each validator, attested, inscribed, and put together again.

An executor sends share i to validator i with a proof that it belongs to the blob's commitment. A validator that holds
a good share signs an attestation. Enough attestations (d of n) make the inscription that enters a block. To read a
blob, the executor asks all validators, checks each share against the commitment, and decodes any d good ones."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from . import ed25519, erasure
from .codec import Malformed, digest, encode, hex_field, natural
from .codec import field as json_field
from .consensus import Identity
from .genesis import Genesis, Member
from .ledger import BlobRecord
from .transactions import Rejected, attested_message, base64_field, body, check_blob_body, sender_signed

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Share:
    """One share of a blob with its Merkle proof."""

    index: int
    data: bytes
    proof: tuple[bytes, ...]

    def to_json(self) -> Message:
        return {
            "index": self.index,
            "data": base64.b64encode(self.data).decode(),
            "proof": [digest.hex() for digest in self.proof],
        }

    @classmethod
    def from_json(cls, value: Message, limit: int) -> Share:
        """Raises Malformed, or Rejected for too many bytes."""
        proof = json_field(value, "proof", list)
        if not all(isinstance(digest, str) and len(digest) == 64 for digest in proof):
            raise Malformed("a proof is not digests")
        try:
            digests = tuple(bytes.fromhex(digest) for digest in proof)
        except ValueError:
            raise Malformed("a proof is not hex") from None
        return cls(natural(value, "index"), base64_field(value, "data", limit), digests)

    def belongs(self, root: str, size: int, genesis: Genesis) -> bool:
        """Whether the commitment `root` of a blob of `size` bytes has this share at this index."""
        return len(self.data) == erasure.share_size(size, genesis.needed_shares) and erasure.in_commitment(
            bytes.fromhex(root), self.data, self.index, genesis.shares, self.proof
        )


class ShareStore(Protocol):
    """Where a validator keeps its shares by blob id."""

    def put(self, blob: str, share: Share) -> None: ...

    def get(self, blob: str) -> Share | None: ...


class MemoryShares:
    """Shares in memory, for networks that live within one test."""

    def __init__(self) -> None:
        self._shares: dict[str, Share] = {}

    def put(self, blob: str, share: Share) -> None:
        self._shares[blob] = share

    def get(self, blob: str) -> Share | None:
        return self._shares.get(blob)


class Custodian:
    """A validator's part: checks, keeps and hands out its share of each blob."""

    def __init__(self, genesis: Genesis, who: Identity, shares: ShareStore) -> None:
        self._genesis = genesis
        self._who = who
        self._index = genesis.validators.index(who.member)
        self._shares = shares

    def take(self, message: Message) -> Message:
        """A share came: keep it, and answer with an attestation. Raises Malformed, Rejected."""
        raw = json_field(message, "blob", dict)
        check_blob_body(raw, self._genesis)
        if raw.get("chain") != self._genesis.hash:
            raise Rejected("for another chain")
        sender = self._genesis.by_key.get(hex_field(raw, "from", 32))
        hex_field(raw, "sig", 64)
        if sender is None or sender.role != "executor" or not sender_signed(raw):
            raise Rejected("not signed by an executor of this chain")
        share = Share.from_json(json_field(message, "share", dict), self._genesis.limits.blob_bytes)
        if share.index != self._index or not share.belongs(raw["root"], raw["size"], self._genesis):
            raise Rejected("the share does not belong to its commitment")
        blob = digest(encode(body(raw)))
        self._shares.put(blob, share)
        signature = ed25519.sign(self._who.secret, attested_message(self._genesis.hash, blob, self._index))
        return {"type": "attest", "blob": blob, "index": self._index, "sig": signature.hex()}

    def give(self, message: Message) -> Message:
        """A share is wanted: the answer, which may be that there is none."""
        blob = hex_field(message, "blob", 32)
        share = self._shares.get(blob)
        return {"type": "share", "blob": blob, "share": share.to_json() if share else None}


@dataclass(slots=True)
class Dispersal:
    """A blob on its way to its validators. `raw` is the signed inscription, still without attestations."""

    id: str
    raw: Message
    shares: list[Share]
    attestations: dict[str, str] = field(default_factory=dict)
    inscribed: bool = False

    @classmethod
    def start(cls, genesis: Genesis, who: Identity, channel: str, blob: bytes, salt: str) -> Dispersal:
        """Code a blob and sign its commitment."""
        data = erasure.encode(blob, genesis.needed_shares, genesis.shares)
        proofs = erasure.merkle_proofs(data)
        shares = [Share(i, share, tuple(proof)) for i, (share, proof) in enumerate(zip(data, proofs, strict=True))]
        raw: Message = {
            "kind": "blob", "chain": genesis.hash, "from": who.member.key, "channel": channel, "salt": salt,
            "root": erasure.merkle_root(data).hex(), "size": len(blob),
            "shares": genesis.shares, "needed": genesis.needed_shares,
        }  # fmt: skip
        id = digest(encode(raw))
        raw["sig"] = ed25519.sign(who.secret, encode(raw)).hex()
        return cls(id, raw, shares)

    def missing(self) -> list[Share]:
        """The shares that nobody has attested to yet."""
        return [share for share in self.shares if str(share.index) not in self.attestations]

    def offer(self, share: Share) -> Message:
        """The message that carries a share to its validator."""
        return {"type": "keep", "blob": self.raw, "share": share.to_json()}

    def attested(self, genesis: Genesis, message: Message) -> bool:
        """An attestation came. True when it is the one that makes them enough. Raises Malformed, Rejected."""
        index = natural(message, "index")
        if index >= genesis.shares:
            raise Malformed("no such validator")
        signature = hex_field(message, "sig", 64)
        key = bytes.fromhex(genesis.validators[index].key)
        if not ed25519.verify(key, attested_message(genesis.hash, self.id, index), bytes.fromhex(signature)):
            raise Rejected("bad attestation")
        self.attestations[str(index)] = signature
        if self.inscribed or len(self.attestations) < genesis.needed_shares:
            return False
        self.inscribed = True
        return True

    def inscription(self) -> Message:
        """The transaction, once there are enough attestations."""
        return {**self.raw, "attestations": dict(self.attestations)}


class TooFewShares(LookupError):
    """A blob that cannot be put together; the text says what came from whom."""


@dataclass(slots=True)
class Retrieval:
    """A blob being put together. `done` is called once, when there is nothing more to wait for."""

    id: str
    record: BlobRecord
    genesis: Genesis
    done: Callable[[], None]
    good: dict[int, bytes] = field(default_factory=dict)
    bad: set[str] = field(default_factory=set)
    absent: set[str] = field(default_factory=set)

    def silent(self) -> list[Member]:
        """The validators that have not answered yet."""
        others = self.bad | self.absent
        return [m for i, m in enumerate(self.genesis.validators) if i not in self.good and m.name not in others]

    def answered(self, validator: str, message: Message) -> bool:
        """A validator answered. False when what it sent is not its share: wrong bytes, index or proof."""
        index = next((i for i, member in enumerate(self.genesis.validators) if member.name == validator), None)
        if index is None:
            return False
        if message.get("share") is None:
            self.absent.add(validator)
        else:
            try:
                share = Share.from_json(json_field(message, "share", dict), self.genesis.limits.blob_bytes)
                good = share.index == index and share.belongs(self.record.root, self.record.size, self.genesis)
            except (Malformed, Rejected):
                good = False
            if not good:
                self.bad.add(validator)
                self._settle()
                return False
            self.good[index] = share.data
        self._settle()
        return True

    def _settle(self) -> None:
        if len(self.good) >= self.genesis.needed_shares or not self.silent():
            self.done()

    def result(self) -> bytes:
        """The blob. Raises TooFewShares, also when the shares were never a code word: its executor cheated."""
        needed = self.genesis.needed_shares
        if len(self.good) < needed:
            silent = ", ".join(member.name for member in self.silent())
            raise TooFewShares(
                f"{len(self.good)} good shares of {needed} needed; wrong: {', '.join(sorted(self.bad)) or 'none'}; "
                f"without: {', '.join(sorted(self.absent)) or 'none'}; silent: {silent or 'none'}"
            )
        blob = erasure.decode(self.good, needed, self.record.size)
        again = erasure.encode(blob, needed, self.genesis.shares)
        if erasure.merkle_root(again).hex() != self.record.root:
            raise TooFewShares("the committed shares are no code word of any blob")
        return blob
