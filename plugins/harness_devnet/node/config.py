"""A node's own file, node.json: who it is, where it listens, whom it dials. Genesis lies beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import ed25519, misbehave
from .codec import Malformed, decode_object, field, hex_field, natural
from .consensus import Identity
from .genesis import Genesis
from .genesis import parse as parse_genesis
from .gossip import Dial


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """`p2p` and `api` are (host, port) to listen at; `data` is the folder for blocks and shares."""

    genesis: Genesis
    who: Identity
    p2p: tuple[str, int]
    api: tuple[str, int]
    dials: tuple[Dial, ...]
    data: Path
    conduct: misbehave.Conduct


def read(path: Path) -> NodeConfig:
    """Read node.json and the genesis.json beside it.

    Raises OSError, Malformed, and misbehave.NotAllowed for a switch that the environment does not permit."""
    doc = decode_object(path.read_bytes())
    genesis = parse_genesis((path.parent / "genesis.json").read_bytes())
    secret = bytes.fromhex(hex_field(doc, "secret", 32))
    member = genesis.by_key.get(ed25519.public_key(secret).hex())
    if member is None or member.name != field(doc, "name", str):
        raise Malformed("the node's key and name are not in genesis")
    conduct = misbehave.parse(field(doc, "misbehave", str))
    if conduct.switch and not misbehave.permitted():
        raise misbehave.NotAllowed(
            f"node.json asks to misbehave ({conduct.switch}), but {misbehave.PERMISSION} is not set to 'allowed'"
        )
    return NodeConfig(
        genesis=genesis,
        who=Identity(member, secret),
        p2p=_address(field(doc, "p2p", dict)),
        api=_address(field(doc, "api", dict)),
        dials=tuple(Dial(field(d, "name", str), *_address(d)) for d in field(doc, "dials", list)),
        data=path.parent / "data",
        conduct=conduct,
    )


def _address(value: dict[str, Any]) -> tuple[str, int]:
    return field(value, "host", str), natural(value, "port")
