"""Ed25519 keys of nodes, derived from the run's seed, in the JSON files that CometBFT reads.

Formats: `p2p/key.go`, `privval/file.go` and `crypto/ed25519` of CometBFT 0.38. A private key is written as
seed and public key together (64 bytes); an address is the first 20 bytes of SHA-256 of the public key."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

UNSIGNED_STATE = json.dumps({"height": "0", "round": 0, "step": 0}).encode()
"""`priv_validator_state.json` of a validator that has signed nothing yet."""


def _typed(kind: str, value: bytes) -> dict[str, str]:
    return {"type": f"tendermint/{kind}Ed25519", "value": base64.b64encode(value).decode()}


@dataclass(frozen=True, slots=True)
class Key:
    """An Ed25519 key pair: the private key's 32-byte seed and the 32-byte public key."""

    seed: bytes
    public: bytes

    @classmethod
    def from_seed(cls, seed: bytes) -> Key:
        return cls(seed, Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw())

    @classmethod
    def derive(cls, seed: int, *purpose: str) -> Key:
        """The key of this purpose ("validator", a node's name) in a run with this seed."""
        return cls.from_seed(hashlib.sha256(json.dumps(["cometbft", seed, *purpose]).encode()).digest())

    @property
    def address(self) -> bytes:
        return hashlib.sha256(self.public).digest()[:20]

    @property
    def node_id(self) -> str:
        """What peers know a node by, if this is its node key."""
        return self.address.hex()

    @property
    def validator_address(self) -> str:
        """How headers name a proposer, if this is its validator key."""
        return self.address.hex().upper()

    def public_json(self) -> dict[str, str]:
        return _typed("PubKey", self.public)

    def node_key_file(self) -> bytes:
        return json.dumps({"priv_key": _typed("PrivKey", self.seed + self.public)}).encode()

    def validator_key_file(self) -> bytes:
        return json.dumps(
            {
                "address": self.validator_address,
                "pub_key": self.public_json(),
                "priv_key": _typed("PrivKey", self.seed + self.public),
            }
        ).encode()
