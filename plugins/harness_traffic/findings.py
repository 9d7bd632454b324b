"""Inputs that a node did not refuse as it should: kept in the run directory, and read back to be sent again."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.api import Block, Context

FOLDER = "invalid"
REMEMBERED = 10_000
"""How many of the newest inputs are at hand should one turn up in a block."""
LARGEST = 64 << 10
"""Bytes of an input that is remembered for that."""


@dataclass(frozen=True, slots=True)
class Input:
    """What is sent: `times` times to one node, all at once. Each time but the first `sound` ones must be refused."""

    kind: str
    payload: bytes
    id: str = ""
    times: int = 1
    sound: int = 0

    def to_json(self) -> dict[str, Any]:
        payload = base64.b64encode(self.payload).decode()
        return {"kind": self.kind, "id": self.id, "times": self.times, "sound": self.sound, "payload": payload}


def read(path: Path) -> Sequence[Input]:
    """The inputs of a kept file, or of all files of a folder by name. Raises ValueError for what is none."""
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not files:
        raise ValueError(f"there are no inputs (*.json) in {path}")
    return [_input(file) for file in files]


def _input(file: Path) -> Input:
    try:
        value = json.loads(file.read_bytes())
        payload = base64.b64decode(value["payload"], validate=True)
        times, sound = int(value["times"]), int(value["sound"])
        if not 0 <= sound <= times <= 2 or not times:
            raise ValueError("times and sound are out of range")
        return Input(str(value["kind"]), payload, str(value["id"]), times, sound)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{file} is no kept input: {error!r}") from None


class Keeper:
    """Writes each failing input down once, under its number."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._by_id: dict[str, tuple[int, Input]] = {}
        self._kept: set[int] = set()
        ctx.feed.on_body(self._seen)

    def sending(self, number: int, input: Input) -> None:
        """It is about to be sent. From now on it may be in blocks no more often than it is sound."""
        if not input.id:
            return
        unwanted = self._ctx.network.unwanted
        unwanted.setdefault(input.id, input.sound)
        if len(unwanted) > REMEMBERED:
            del unwanted[next(iter(unwanted))]
        if not input.sound and len(input.payload) <= LARGEST:
            self._by_id[input.id] = number, input
        if len(self._by_id) > REMEMBERED:
            del self._by_id[next(iter(self._by_id))]

    def keep(self, number: int, input: Input, node: str, what: Mapping[str, Any]) -> None:
        if number in self._kept:
            return
        self._kept.add(number)
        folder = self._ctx.run_dir / FOLDER
        folder.mkdir(exist_ok=True)
        name = f"{self._ctx.component}-{number:06d}-{input.kind}".replace("#", "-")
        document = {**input.to_json(), "node": node, "seed": self._ctx.seed, **what}
        (folder / f"{name}.json").write_text(json.dumps(document, indent=1))
        self._ctx.warn(f"{input.kind} number {number} was not refused as it should be by {node}", **what)

    def _seen(self, block: Block, node: str, at: float) -> None:
        for id in block.tx_ids:
            if found := self._by_id.get(id):
                self.keep(*found, node, {"included": block.header.hash, "height": block.header.height})
