"""`genesis.json` and `config.toml`, as CometBFT 0.38 reads them (`types/genesis.go`, `config/toml.go`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from harness_cometbft.keys import Key

_MAX_CHAIN_ID = 50
_TWO_DAYS = 48 * 3600 * 10**9

# CometBFT's own defaults (`types/params.go`), written out so that a genesis file says all that it means.
# Go's int64 are strings in its JSON.
_CONSENSUS_PARAMS = {
    "block": {"max_bytes": "22020096", "max_gas": "-1"},
    "evidence": {"max_age_num_blocks": "100000", "max_age_duration": str(_TWO_DAYS), "max_bytes": "1048576"},
    "validator": {"pub_key_types": ["ed25519"]},
    "version": {"app": "0"},
    "abci": {"vote_extensions_enable_height": "0"},
}


@dataclass(frozen=True, slots=True)
class GenesisValidator:
    name: str
    key: Key
    power: int


def chain_id(run_id: str) -> str:
    """The run's id, cut with a digest of the whole where it is longer than the 50 bytes that CometBFT allows."""
    if len(run_id.encode()) <= _MAX_CHAIN_ID:
        return run_id
    digest = hashlib.sha256(run_id.encode()).hexdigest()[:8]
    return run_id.encode()[: _MAX_CHAIN_ID - 9].decode(errors="ignore") + "-" + digest


def genesis(chain: str, time: float, validators: Iterable[GenesisValidator]) -> bytes:
    """`time` is Unix seconds: the header time of the first block, before which no node begins."""
    return json.dumps(
        {
            "genesis_time": datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "chain_id": chain,
            "initial_height": "1",
            "consensus_params": _CONSENSUS_PARAMS,
            "validators": [
                {
                    "address": validator.key.validator_address,
                    "pub_key": validator.key.public_json(),
                    "power": str(validator.power),
                    "name": validator.name,
                }
                for validator in validators
            ],
            "app_hash": "",
        },
        indent=2,
    ).encode()


def toml(sections: Mapping[str, Mapping[str, str | int | bool]]) -> bytes:
    """`sections` by name, "" being the top level. Their values' JSON form is TOML's too, but for DEL."""
    lines = []
    for name, values in sections.items():
        if name:
            lines += ["", f"[{name}]"]
        lines += [
            f"{key} = {json.dumps(value, ensure_ascii=False)}".replace("\x7f", "\\u007f")
            for key, value in values.items()
        ]
    return ("\n".join(lines) + "\n").encode()


def milliseconds(seconds: float) -> str:
    """A duration as Go reads it."""
    return f"{round(seconds * 1000)}ms"
