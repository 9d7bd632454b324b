"""Which of many runs are meant: the filters of `harness runs list`."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from harness.errors import UsageError
from harness.record.codec import jsonable
from harness.record.glance import Glance
from harness.spec.durations import parse_duration

_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class RunFilter:
    """What a run must be; empty says nothing. Of several words of one kind any will do; all kinds must be met."""

    playbooks: Sequence[str] = ()
    verdicts: Sequence[str] = ()
    statuses: Sequence[str] = ()
    deployers: Sequence[str] = ()
    chains: Sequence[str] = ()
    matrices: Sequence[str] = ()
    variables: Sequence[tuple[str, str]] = ()
    since: float | None = None
    until: float | None = None

    def meets(self, run: Glance) -> bool:
        return (
            self._is_of(run)
            and _any_of(run.verdict or "none", self.verdicts)
            and _any_of(run.status, self.statuses)
            and _any_of(run.matrix, self.matrices)
            and all(name in run.variables and _told(run.variables[name]) == value for name, value in self.variables)
            and (self.since is None or (run.began is not None and run.began >= self.since))
            and (self.until is None or (run.began is not None and run.began < self.until))
        )

    def _is_of(self, run: Glance) -> bool:
        """A run that did not come so far as to say what it is of can only be told by its folder's name."""
        started = run.started
        if started is None:
            known = not (self.deployers or self.chains)
            return known and _like((run.directory.run_id,), self.playbooks)
        return (
            _like((started.name, started.playbook), self.playbooks)
            and _any_of(started.deployer, self.deployers)
            and _any_of(started.chain, self.chains)
        )


def _any_of(value: str, wanted: Sequence[str]) -> bool:
    return not wanted or value in wanted


def _like(names: Sequence[str], patterns: Sequence[str]) -> bool:
    return not patterns or any(_matches(pattern, names) for pattern in patterns)


def _matches(pattern: str, names: Sequence[str]) -> bool:
    """A pattern with `*` or `?` stands for the whole name, other text for a part of it; in any case of letters."""
    pattern = pattern.lower()
    if any(mark in pattern for mark in "*?["):
        return any(fnmatchcase(name.lower(), pattern) for name in names)
    return any(pattern in name.lower() for name in names)


def _told(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(jsonable(value))


def parse_moment(text: str, now: float | None = None) -> float:
    """`2h` or `3d` ago, or a date, or a date with a time (UTC where it names no zone), in Unix seconds. Raises
    UsageError."""
    try:
        if text.endswith("d") and text[:-1].replace(".", "", 1).isdigit():
            return (now or time.time()) - float(text[:-1]) * _DAY
        return (now or time.time()) - parse_duration(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f'"{text}" is no time; write one like 2h, 3d, 2026-01-31 or 2026-01-31T12:00') from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def parse_variable(text: str) -> tuple[str, str]:
    """`KEY=VALUE`. Raises UsageError."""
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise UsageError(f'"{text}" is no variable; write KEY=VALUE')
    return key, value
