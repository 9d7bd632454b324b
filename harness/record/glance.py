"""What is to be known of a run without reading all of its journal: its first lines, and its last."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from harness.record.codec import DecodeError, decode
from harness.record.events import RunFinished, RunStarted
from harness.record.journal import read_journal
from harness.record.regular import open_regular
from harness.record.rundir import RunDirectory

_FIRST = 50
_LAST_BYTES = 1 << 16


STATUSES = (
    "done", "interrupted", "not-usable", "infrastructure-failed", "teardown-incomplete",
    "running", "dead", "empty", "unreadable",
)  # fmt: skip
"""How a run may stand: as it ended, or, where it has not told of an end, as its controller and its journal are."""


@dataclass(frozen=True, slots=True)
class Glance:
    """`began` in Unix seconds, None where nothing was written; `started` and `finish` are None where the run did not
    come so far. `status` is "empty" for a run that wrote nothing, "unreadable" for one whose journal may not be read,
    else as RunState.status has it."""

    directory: RunDirectory
    began: float | None
    started: RunStarted | None
    finish: RunFinished | None
    status: str

    @property
    def verdict(self) -> str:
        """ "" for a run without an end."""
        return self.finish.verdict if self.finish else ""

    @property
    def variables(self) -> Mapping[str, Any]:
        return self.started.variables if self.started else {}

    @property
    def matrix(self) -> str:
        """Which matrix the run is of, "" for a run of its own."""
        found = self.started.matrix.get("id") if self.started else None
        return found if isinstance(found, str) else ""

    @property
    def varies(self) -> Sequence[str]:
        """The variables in which the runs of its matrix differ."""
        found = self.started.matrix.get("varies") if self.started else None
        return [name for name in found if isinstance(name, str)] if isinstance(found, list | tuple) else []


def glance(directory: RunDirectory) -> Glance:
    """Never raises for what lies there: one run that cannot be read hides no other."""
    try:
        first = list(islice(read_journal(directory.journal), _FIRST))
        finish = _last(directory.journal)
    except FileNotFoundError:
        return Glance(directory, None, None, None, "empty")
    except OSError:
        return Glance(directory, None, None, None, "unreadable")
    started = next((one.event for one in first if isinstance(one.event, RunStarted)), None)
    if not first:
        return Glance(directory, None, None, None, "empty")
    status = finish.status if finish else "running" if directory.is_alive() else "dead"
    return Glance(directory, first[0].at - first[0].t, started, finish, status)


def _last(journal: Path) -> RunFinished | None:
    with open_regular(journal) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _LAST_BYTES))
        line = file.read().rstrip(b"\n").rpartition(b"\n")[2]
    try:
        last = decode(line)
    except DecodeError:  # torn, or longer than what was read: none that ends a run
        return None
    return last.event if last is not None and isinstance(last.event, RunFinished) else None
