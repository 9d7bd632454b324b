"""The fault ledger: what is about to be done and how to undo it, on disk before it is done.

One JSON object to a line, synced. A fault is open from its `intend` line until its `healed` line."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path


class Ledger:
    """Append-only and synced at every line; safe to read at any moment, after any crash."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def intend(self, fault_id: str, fault: str, targets: Sequence[str], undo: str) -> None:
        """Before injection. `undo` tells a person what healing would do."""
        self._write({"entry": "intend", "id": fault_id, "fault": fault, "targets": list(targets), "undo": undo})

    def healed(self, fault_id: str) -> None:
        """After healing was proven."""
        self._write({"entry": "healed", "id": fault_id})

    def close(self) -> None:
        os.close(self._fd)

    def _write(self, entry: dict[str, object]) -> None:
        os.write(self._fd, json.dumps(entry).encode() + b"\n")
        os.fsync(self._fd)


def open_faults(path: Path) -> list[dict[str, object]]:
    """The `intend` entries that no `healed` entry answers; a torn last line is no entry."""
    found: dict[object, dict[str, object]] = {}
    for line in path.read_bytes().split(b"\n")[:-1] if path.exists() else []:
        entry = json.loads(line)
        if entry["entry"] == "intend":
            found[entry["id"]] = entry
        else:
            found.pop(entry["id"], None)
    return list(found.values())
