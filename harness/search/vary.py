"""What a search varies: a variable of the playbook, or one of its settings by its path. Pure.

`rate` is the variable that templates use as `{{ rate }}`, and is set as `-e rate=VALUE` sets it.
`workloads.transactions.rate` is a setting: the section, what its table uses, the key; also `chain.block_txs`,
`topology.validators`."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness.errors import UsageError
from harness.spec.durations import decimal
from harness.spec.playbook import PlaybookFile
from harness.spec.problems import known_hint, shown
from harness.spec.template import variables_used
from harness.spec.toml_document import KeyPath

_QUANTITY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(\D*?)\s*")
_LISTS = ("workloads", "expectations", "steps")
FARTHEST = 1000.0
"""So many times --from is --to where nothing is said."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number and its unit as written: "/s", "/block", "s", "" …"""

    number: float
    unit: str = ""

    def __str__(self) -> str:
        return f"{decimal(self.number)}{self.unit}"


def quantity(value: object) -> Quantity | None:
    """Of `15`, `"15/block"`, `"20s"`; None of what is none."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Quantity(float(value))
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    return Quantity(float(match[1]), match[2].replace(" ", "")) if match else None


@dataclass(frozen=True, slots=True)
class Varied:
    """What is varied. `path` is that of a setting, () for a variable; `now` what the playbook says."""

    name: str
    path: KeyPath
    now: Quantity | None

    def apply(self, file: PlaybookFile, number: float, unit: str) -> tuple[PlaybookFile, dict[str, Any]]:
        """The playbook with this value, and the variables that have it so."""
        value: Any = f"{decimal(number)}{unit}" if unit else int(number) if number.is_integer() else number
        if not self.path:
            return file, {self.name: value}
        data = copy.deepcopy(dict(file.document.data))
        table: Any = data
        for step in self.path[:-1]:
            if step == "chain" and isinstance(table.get(step), str):
                table[step] = {"use": table[step]}
            table = table[step]
        table[self.path[-1]] = value
        return PlaybookFile(replace(file.document, data=data)), {}


def find_varied(file: PlaybookFile, name: str) -> Varied:
    """What `--vary NAME` means. Raises UsageError, naming what there is to vary."""
    data = file.document.data
    declared: dict[str, Any] = {**_table(data, "vars"), **_table(data, "matrix")}
    variables = {**dict.fromkeys(sorted(variables_used(data))), **declared}
    if name in variables:
        if name not in variables_used(data):
            raise UsageError(
                f"--vary {name}: the playbook has this variable, but nothing uses it: write {{{{ {name} }}}}"
            )
        value = variables[name]
        value = value[0] if isinstance(value, list) and value else value
        if value is not None and quantity(value) is None:
            raise UsageError(
                f"--vary {name}: it is {shown(value)}, and only numbers with or without a unit can be varied"
            )
        return Varied(name, (), quantity(value))
    settings = {".".join(map(str, shown_as)): (path, value) for shown_as, path, value in _settings(data)}
    if name in settings:
        at, value = settings[name]
        if isinstance(value, str) and (used := variables_used(value)):
            raise UsageError(f"--vary {name}: it is {shown(value)}: vary the variable {sorted(used)[0]} instead")
        return Varied(name, at, quantity(value))
    if (path := _absent(data, name)) is not None:
        return Varied(name, path, None)
    known = [*variables, *(key for key, (_, value) in settings.items() if not variables_used(value))]
    raise UsageError(
        f"--vary {name}: the playbook has no such variable or setting; {known_hint(name, known, 'it has')}"
    )


def _table(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = data.get(key)
    return found if isinstance(found, Mapping) else {}


def _tables(data: Mapping[str, Any]) -> Iterator[tuple[str, KeyPath, Mapping[str, Any]]]:
    """Every table that has settings: how it is called, and where it is."""
    yield "", (), {key: value for key, value in data.items() if key not in ("vars", "matrix")}
    for section in ("topology", "wallets"):
        yield section, (section,), _table(data, section)
    yield "chain", ("chain",), _table(data, "chain")
    for section in _LISTS:
        counts: dict[str, int] = {}
        listed = data.get(section)
        for index, table in enumerate(listed if isinstance(listed, list) else ()):
            use = next((str(table[key]) for key in ("use", "fault", "expect") if key in table), "")
            counts[use] = counts.get(use, 0) + 1
            yield f"{section}.{use}" + (f"#{counts[use]}" if counts[use] > 1 else ""), (section, index), table


def _settings(data: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], KeyPath, Any]]:
    for called, path, table in _tables(data):
        for key, value in table.items():
            if quantity(value) is not None or (isinstance(value, str) and variables_used(value)):
                yield ((called, key) if called else (key,)), (*path, key), value


def _absent(data: Mapping[str, Any], name: str) -> KeyPath | None:
    """Where a setting would be that the playbook leaves at its default; the plan says whether there is such a one."""
    called, _, key = name.rpartition(".")
    return next(((*path, key) for table, path, _ in _tables(data) if called and table == called), None)


def ends(varied: Varied, start: str | None, stop: str | None) -> tuple[float, float, str]:
    """Where to begin and to end, and their unit: that of the playbook where none is given. Raises UsageError."""
    now = varied.now
    low = _end("--from", start) if start is not None else now
    if low is None:
        raise UsageError(f"--vary {varied.name}: the playbook does not say its value: write --from")
    high = _end("--to", stop) if stop is not None else Quantity(low.number * FARTHEST, low.unit)
    unit = low.unit or high.unit or (now.unit if now else "")
    if {low.unit, high.unit} - {unit, ""}:
        raise UsageError(f"--from {low} and --to {high} have different units")
    if unit and now is not None and not varied.path and not now.unit:
        raise UsageError(
            f"--vary {varied.name}: its value in the playbook, {now}, has no unit, as templates put one behind it: "
            f"leave {unit} out"
        )
    if not 0 < low.number < high.number:
        raise UsageError(f"--from {low} must be more than 0, and less than --to {high}")
    return low.number, high.number, unit


def _end(option: str, text: str) -> Quantity:
    found = quantity(text)
    if found is None:
        raise UsageError(f"{option} {text}: is no number, with or without a unit; write like 5, 5/s or 20s")
    return found
