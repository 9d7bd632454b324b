"""What CometBFT's RPC answers, read into the values that observers use. Pure.

Source: https://docs.cometbft.com/v0.38/rpc. int64 come as strings. Readers raise KeyError, TypeError or
ValueError for anything of another shape."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from harness.api import Block, BlockHeader, Head
from harness_cometbft.transactions import transaction_id


def head(status: Any) -> Head:
    """Of `status`. Every committed block is final."""
    sync = status["sync_info"]
    height = int(sync["latest_block_height"])
    return Head(height, sync["latest_block_hash"], final_height=height, syncing=bool(sync["catching_up"]))


@dataclass(frozen=True, slots=True)
class Identity:
    """Of `status`: the ids under which peers know a node and headers name it as proposer, its chain's id, its height,
    and the lowest height that it still has."""

    node_id: str
    moniker: str
    chain: str
    validator: str
    height: int
    lowest: int


def identity(status: Any) -> Identity:
    node, sync = status["node_info"], status["sync_info"]
    return Identity(
        node["id"],
        str(node["moniker"]),
        node["network"],
        status["validator_info"]["address"],
        int(sync["latest_block_height"]),
        int(sync["earliest_block_height"]),
    )


def powers(validators: Any) -> tuple[dict[str, int], int]:
    """Of a page of `validators`: voting power by address, and how many validators there are in all."""
    found = {validator["address"]: int(validator["voting_power"]) for validator in validators["validators"]}
    return found, int(validators["total"])


def _header(block_id: Any, header: Any, tx_count: int, proposers: Mapping[str, str]) -> BlockHeader:
    """The header's time is BFT time: the median of when validators voted for its *parent*, so about one interval
    before the block itself was made."""
    return BlockHeader(
        height=int(header["height"]),
        hash=block_id["hash"],
        parent=header["last_block_id"]["hash"],
        time=datetime.fromisoformat(header["time"]).timestamp(),
        proposer=proposers.get(header["proposer_address"], ""),
        tx_count=tx_count,
    )


NO_EVIDENCE = hashlib.sha256(b"").hexdigest().upper()
"""`evidence_hash` of a header whose block has no evidence: the Merkle root of nothing."""


def with_evidence(blockchain: Any) -> frozenset[str]:
    """Of `blockchain`: hashes of those blocks that have evidence of misbehaviour in them."""
    metas = blockchain["block_metas"]
    return frozenset(meta["block_id"]["hash"] for meta in metas if meta["header"]["evidence_hash"] != NO_EVIDENCE)


def accused(answer: Any, proposers: Mapping[str, str]) -> tuple[str, ...]:
    """Of `block_by_hash`: the validators that its evidence is against, by node name, else by address. A duplicate vote
    is two votes of one validator at one height, round and step; an attack on light clients names all who signed the
    other block (CometBFT, spec/consensus/evidence.md)."""
    addresses: list[str] = []
    for piece in answer["block"]["evidence"]["evidence"]:
        value = piece["value"]
        if "vote_a" in value:
            addresses.append(value["vote_a"]["validator_address"])
        else:
            addresses += [validator["address"] for validator in value["ByzantineValidators"]]
    return tuple(dict.fromkeys(proposers.get(address, address) for address in addresses))


def headers(blockchain: Any, proposers: Mapping[str, str]) -> list[BlockHeader]:
    """Of `blockchain`, lowest first. `proposers` maps validators' addresses to node names."""
    return [
        _header(meta["block_id"], meta["header"], int(meta["num_txs"]), proposers)
        for meta in reversed(blockchain["block_metas"])
    ]


def block(answer: Any, proposers: Mapping[str, str]) -> Block | None:
    """Of `block_by_hash`; None where the node has no such block."""
    if answer["block"] is None:
        return None
    payloads = answer["block"]["data"]["txs"] or []
    return Block(
        _header(answer["block_id"], answer["block"]["header"], len(payloads), proposers),
        tuple(transaction_id(base64.b64decode(payload)) for payload in payloads),
    )


def peer_ids(net_info: Any) -> list[str]:
    return [peer["node_info"]["id"] for peer in net_info["peers"]]
