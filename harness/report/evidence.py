"""What a verdict rests on, as groups of figures and tables, whatever shape an expectation gave it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.record.evidence import WRONG
from harness.record.tables import NONE, Mood, Row, Table
from harness.record.text import figure, one_line

MAX_CELL = 300
_MAX_ROWS = 40
_MAX_COLUMNS = 14
_MAX_FACTS = 60
_MAX_GROUPS = 24
_DEPTH = 3
"""What lies deeper is told in a line."""


@dataclass(frozen=True, slots=True)
class Group:
    """Figures of one thing; `title` is "" of those that are of no other than the expectation itself."""

    title: str
    facts: tuple[tuple[str, str], ...]
    tables: tuple[Table, ...]
    left_out: int = 0
    """Facts that are not among them."""


def evidence_groups(evidence: Mapping[str, Any]) -> tuple[Group, ...]:
    """Those that have anything in them, the expectation's own first."""
    groups = list(_groups("", evidence, _DEPTH))
    return tuple(groups[:_MAX_GROUPS])


def words(name: object) -> str:
    """A key as people read it."""
    return one_line(name, 80).replace("_", " ")


def is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def is_empty(value: object) -> bool:
    """Whether there is nothing to tell of it; nought is something."""
    return value is None or (isinstance(value, str | list | tuple | Mapping) and not value)


def _groups(title: str, evidence: Mapping[str, Any], depth: int) -> Iterator[Group]:
    facts: list[tuple[str, str]] = []
    tables: list[Table] = []
    further: list[tuple[str, Mapping[str, Any]]] = []
    together = _alike({key: value for key, value in evidence.items() if _is_record(value)})
    if len(together) > 1:  # one record for each node, say, not gathered under one name
        tables.append(_records("", together))
    else:
        together = {}
    for key, value in evidence.items():
        if key in together or is_empty(value) or (key == WRONG and isinstance(value, list | tuple)):
            continue
        records = _as_records(value)
        if records and (len(records) == 1 or len(_alike(records)) == len(records)) and _width(records) <= _MAX_COLUMNS:
            tables.append(_records(str(key), records))
        elif _is_record(value) and depth:
            further.append((f"{title}: {words(key)}" if title else words(key), value))
        else:
            facts.append((words(key), one_line(figure(value), 2 * MAX_CELL)))
    if facts or tables:
        yield Group(title, tuple(facts[:_MAX_FACTS]), tuple(tables), max(0, len(facts) - _MAX_FACTS))
    for name, inner in further:
        yield from _groups(name, inner, depth - 1)


def _as_records(value: Any) -> Mapping[str, Mapping[str, Any]]:
    """By their names, or numbered; none where it is something else."""
    if isinstance(value, list | tuple):
        value = {str(number): inner for number, inner in enumerate(value, 1)}
    if isinstance(value, Mapping) and all(map(_is_record, value.values())):
        return value
    return {}


def _is_record(value: object) -> bool:
    return isinstance(value, Mapping) and bool(value)


def _alike(records: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
    """The most that have most of their keys in common with one of them."""
    keys = {name: frozenset(record) for name, record in records.items()}
    best: list[str] = []
    for first in dict.fromkeys(keys.values()):
        alike = [name for name, other in keys.items() if len(first & other) * 2 > len(first | other)]
        best = max(best, alike, key=len)
    return {name: records[name] for name in best}


def _width(records: Mapping[str, Mapping[str, Any]]) -> int:
    return len({key for record in records.values() for key in record})


def _records(title: str, records: Mapping[str, Mapping[str, Any]]) -> Table:
    """A row for each; those with something `wrong` first. Columns without anything in them are left out."""
    ordered = sorted(records.items(), key=lambda item: is_empty(item[1].get(WRONG)))
    keys = list(dict.fromkeys(key for record in records.values() for key in record))
    keys = [key for key in keys if any(not is_empty(record.get(key)) for record in records.values())]
    keys.sort(key=lambda key: key != WRONG)
    rows = []
    for name, record in ordered[:_MAX_ROWS]:
        cells = [NONE if is_empty(record.get(key)) else _cell(record[key]) for key in keys]
        rows.append(Row((str(name), *cells), Mood.PLAIN if is_empty(record.get(WRONG)) else Mood.BAD))
    left = len(records) - len(rows)
    notes = (f"… and {left:,} more in result.json",) if left > 0 else ()
    columns = tuple(words(key) for key in keys)
    numeric = frozenset(words(key) for key in keys if all(is_number(record.get(key)) for record in records.values()))
    return Table(words(title), ("", *columns), tuple(rows), numeric, notes=notes)


def _cell(value: Any) -> str:
    if isinstance(value, list | tuple):
        return one_line("; ".join(_cell(inner) for inner in value), MAX_CELL)
    return one_line(figure(value), MAX_CELL)
