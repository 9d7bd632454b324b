"""The table of nodes, those with problems first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from rich.text import Text

from harness.record.state import NodeStatus, RunState
from harness.tui.look import BAD, DIM, DOUBTFUL, NONE, Look, as_last_seen, cut, of_node, size


@dataclass(frozen=True, slots=True)
class Column:
    """What has a lower `rank` has room first. It is as wide as what is in it, within `least` and `most`."""

    title: str
    rank: int
    least: int
    most: int
    right: bool = False


TROUBLE = "trouble"
_ADDRESS = re.compile(r"^\S{1,60}:\d{1,5}: ")
"""Whom an error is about, which is said beside it."""
COLUMNS = (
    Column("node", 0, 10, 24),
    Column("state", 1, 9, 13),
    Column("height", 2, 6, 12, right=True),
    Column("lag", 3, 3, 9, right=True),
    Column("peers", 5, 5, 6, right=True),
    Column("cpu", 6, 4, 6, right=True),
    Column("memory", 7, 6, 7, right=True),
    Column("role", 8, 4, 12),
    Column("machine", 9, 7, 20),
    Column("version", 10, 7, 16),
    Column("exits", 11, 5, 6, right=True),
    Column(TROUBLE, 4, 16, 16),
)
"""The last one has whatever room the others leave; it is there when there is trouble."""


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node, and how bad it stands: the greater, the earlier it is shown."""

    node: NodeStatus
    look: Look
    lag: int | None
    faults: tuple[str, ...]
    gravity: int


def rows(state: RunState, *, is_cut_off: bool = False) -> list[NodeRow]:
    """All nodes: those in trouble first, then by name, numbers in them counted as numbers. `is_cut_off`: that is how
    they were seen last."""
    by_node: dict[str, list[str]] = {}
    for fault in state.active_faults:
        for target in fault.targets:
            by_node.setdefault(target, []).append(fault.fault)
    depth = max(1, state.run.finality_depth if state.run else 1)
    found = []
    for node in state.nodes.values():
        lag = state.lag(node.name)
        faults = tuple(by_node.get(node.name, ()))
        look = as_last_seen(node) if is_cut_off else of_node(node)
        found.append(NodeRow(node, look, lag, faults, _gravity(node, lag, depth, bool(faults))))
    return sorted(found, key=lambda row: (-row.gravity, _natural(row.node.name)))


def _gravity(node: NodeStatus, lag: int | None, depth: int, is_disturbed: bool) -> int:
    if node.state == "exited" and node.exits:
        return 5
    if node.state == "running" and node.connected is False:
        return 3 if is_disturbed else 4
    if lag is not None and lag > depth + 1 and node.state == "running":
        return 2 if is_disturbed else 3
    if node.state == "paused":
        return 2
    return 1 if node.exits or is_disturbed else 0


@lru_cache(maxsize=4096)
def _natural(name: str) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", name)]


class NodeTable:
    """The nodes as lines."""

    def __init__(self, rows: Sequence[NodeRow]) -> None:
        self.rows = rows
        self._layouts: dict[int, Sequence[tuple[Column, int]]] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def heading(self, width: int) -> Text:
        titles = (_fitted(column.title, column, room) for column, room in self._layout(width))
        return Text(" ".join(titles), "dim bold", no_wrap=True)

    def line(self, index: int, width: int) -> Text:
        row = self.rows[index]
        text = Text(no_wrap=True)
        for column, room in self._layout(width):
            value, style = _cell(row, column.title)
            text.append(" " if text else "").append(_fitted(value, column, room), style)
        return text

    def _layout(self, width: int) -> Sequence[tuple[Column, int]]:
        """The columns for which there is room, and how wide they are."""
        known = self._layouts.get(width)
        if known is None:
            known = self._layouts[width] = _layout(self.rows, width)
        return known


def _layout(rows: Sequence[NodeRow], width: int) -> Sequence[tuple[Column, int]]:
    widths: dict[Column, int] = {}
    left = width + 1
    for column in sorted(COLUMNS, key=lambda column: column.rank):
        if column.title == TROUBLE and not any(_trouble(row) for row in rows):
            continue
        longest = max((len(_cell(row, column.title)[0]) for row in rows), default=0)
        needed = min(column.most, max(column.least, len(column.title), longest))
        if needed + 1 > left:
            break
        widths[column] = needed
        left -= needed + 1
    trouble = COLUMNS[-1]
    if trouble in widths:
        widths[trouble] += left
    return [(column, widths[column]) for column in COLUMNS if column in widths]


def _fitted(text: str, column: Column, width: int) -> str:
    shown = cut(text, width)
    return f"{shown:>{width}}" if column.right else f"{shown:<{width}}"


def _trouble(row: NodeRow) -> str:
    """What is done to it, and what it last complained of."""
    faults = f"⚡ {', '.join(row.faults)}" if row.faults else ""
    return " · ".join(filter(None, (faults, _ADDRESS.sub("", row.node.last_error))))


def _cell(row: NodeRow, title: str) -> tuple[str, str]:
    """Its text and style."""
    node, look = row.node, row.look
    match title:
        case "node":
            return node.name, "bold" if row.gravity else ""
        case "state":
            return f"{look.glyph} {look.word}", look.style
        case "height":
            return f"{node.height:,}" if node.hash else NONE, ""
        case "lag":
            return NONE if row.lag is None else f"{row.lag:,}", DOUBTFUL if row.lag and row.gravity > 1 else DIM
        case "peers":
            return NONE if node.peers is None else f"{node.peers:,}", BAD if node.peers == 0 else DIM
        case "cpu":
            return NONE if node.cpu is None else f"{node.cpu:.0%}", DIM
        case "memory":
            return NONE if node.memory is None else size(node.memory), DIM
        case "role":
            return node.role, DIM
        case "machine":
            return node.machine, DIM
        case "version":
            return node.version or NONE, DIM
        case "exits":
            return f"{node.exits:,}", BAD if node.exits else DIM
    return _trouble(row), BAD if node.last_error else DOUBTFUL
