"""The table of nodes, those with problems first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from rich.text import Text

from harness.record.state import NodeStatus, RunState
from harness.tui.look import BAD, DIM, DOUBTFUL, NONE, Look, as_last_seen, cut, of_node, size

_STATE_WIDTH = 13


@dataclass(frozen=True, slots=True)
class Column:
    """`least` columns of the screen from which on it is shown."""

    title: str
    width: int
    right: bool = False
    least: int = 0


COLUMNS = (
    Column("node", 18),
    Column("state", _STATE_WIDTH),
    Column("height", 9, right=True),
    Column("lag", 5, right=True),
    Column("peers", 5, right=True, least=60),
    Column("cpu", 5, right=True, least=66),
    Column("memory", 7, right=True, least=74),
    Column("exits", 5, right=True, least=80),
    Column("role", 11, least=92),
    Column("machine", 14, least=107),
    Column("version", 12, least=120),
    Column("fault", 14, least=135),
)
_ERROR_FROM = 150


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


def heading(width: int) -> Text:
    return _cells([column.title for column in _shown(width)], width, "dim bold")


def line(row: NodeRow, width: int) -> Text:
    """One node's."""
    node, look = row.node, row.look
    values = {
        "node": (node.name, "bold" if row.gravity else ""),
        "state": (f"{look.glyph} {look.word}", look.style),
        "height": (f"{node.height:,}" if node.hash else NONE, ""),
        "lag": (NONE if row.lag is None else f"{row.lag:,}", DOUBTFUL if row.lag and row.gravity > 1 else DIM),
        "peers": (NONE if node.peers is None else f"{node.peers:,}", BAD if node.peers == 0 else DIM),
        "cpu": (NONE if node.cpu is None else f"{node.cpu:.0%}", DIM),
        "memory": (NONE if node.memory is None else size(node.memory), DIM),
        "version": (node.version or NONE, DIM),
        "exits": (f"{node.exits:,}", BAD if node.exits else DIM),
        "role": (node.role, DIM),
        "machine": (node.machine, DIM),
        "fault": (f"⚡ {', '.join(row.faults)}" if row.faults else "", DOUBTFUL),
    }
    text = Text(no_wrap=True)
    for column in _shown(width):
        value, style = values[column.title]
        shown = cut(value, column.width)
        text.append(f"{shown:>{column.width}}" if column.right else f"{shown:<{column.width}}", style)
        text.append(" ")
    room = width - text.cell_len
    if width >= _ERROR_FROM and node.last_error and room > 8:
        text.append(cut(node.last_error, room), BAD)
    return text


def _shown(width: int) -> Sequence[Column]:
    return [column for column in COLUMNS if width >= column.least]


def _cells(titles: Sequence[str], width: int, style: str) -> Text:
    text = Text(no_wrap=True, style=style)
    for column, title in zip(_shown(width), titles, strict=True):
        text.append(f"{title:>{column.width}} " if column.right else f"{title:<{column.width}} ")
    if width >= _ERROR_FROM:
        text.append("last error")
    return text
