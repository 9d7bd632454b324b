"""The logs of a run's nodes, as they lie in its directory: found, and read from the end or while they grow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from harness.errors import UsageError
from harness.record.events import RunStarted
from harness.record.journal import read_journal
from harness.record.rundir import RunDirectory
from harness.spec.file_names import name_of
from harness.spec.node_patterns import select_nodes
from harness.spec.topology import NodeSpec

_BLOCK = 64 * 1024


@dataclass(frozen=True, slots=True)
class NodeLog:
    """A node's log. There may be no file yet: the node has not been started then."""

    node: NodeSpec
    path: Path

    @property
    def size(self) -> int | None:
        """Bytes, None where there is no file."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return None


def logs_of(run: RunDirectory) -> list[NodeLog]:
    """Of every node of the run, as its journal names them; nodes that it does not name, but that have a log, follow."""
    roles = {name: str(node.get("role", "")) for name, node in _nodes(run).items()}
    files = sorted(name_of(path.stem) for path in run.logs.glob("*.log")) if run.logs.is_dir() else []
    names = [*roles, *(name for name in files if name not in roles)]
    return [NodeLog(NodeSpec(name, roles.get(name, ""), 0, 0), run.log(name)) for name in names]


def select_logs(logs: Sequence[NodeLog], patterns: Sequence[str]) -> list[NodeLog]:
    """Those of the nodes that match any of the patterns (names, roles, globs). Raises UsageError for one that does
    not match any."""
    if not logs:
        raise UsageError("this run has no nodes")
    nodes = [log.node for log in logs]
    chosen = {node.name for pattern in patterns for node in select_nodes(pattern, nodes)}
    return [log for log in logs if log.node.name in chosen]


def _nodes(run: RunDirectory) -> dict[str, dict[str, object]]:
    if not run.journal.exists():
        return {}
    events = (recorded.event for recorded in read_journal(run.journal))
    started = next((event for event in events if isinstance(event, RunStarted)), None)
    return {name: dict(node) for name, node in started.nodes.items()} if started is not None else {}


class Tail:
    """What is in a file from some place on, and whatever is appended to it later. The file may come later too."""

    def __init__(self, path: Path, lines: int | None = None) -> None:
        """From the beginning, or the last so many lines. Raises OSError when it is there and cannot be read."""
        self._path = path
        self._lines = lines
        self._file: BinaryIO | None = None
        self._open()

    def read(self) -> bytes:
        """What there is that was not read before, up to a block of it; b"" when there is nothing now."""
        self._open()
        return self._file.read(_BLOCK) if self._file is not None else b""

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _open(self) -> None:
        if self._file is not None:
            return
        try:
            self._file = self._path.open("rb")
        except FileNotFoundError:
            self._lines = None  # all of what will come is new
            return
        if self._lines is not None:
            self._file.seek(_start_of_last(self._file, self._lines))


def _start_of_last(file: BinaryIO, lines: int) -> int:
    """Where the last so many lines begin. A line without an end counts as one."""
    position = end = file.seek(0, 2)
    to_find = lines
    while position > 0 and to_find >= 0:
        start = max(0, position - _BLOCK)
        file.seek(start)
        content = file.read(position - start)
        searched = len(content) - (1 if position == end and content.endswith(b"\n") else 0)
        while (found := content.rfind(b"\n", 0, searched)) >= 0:
            to_find -= 1
            if to_find == 0:
                return start + found + 1
            searched = found
        position = start
    return 0 if lines else end
