"""What a run came to, as tables of text: the same data for terminals, files and pages.

Texts here are as they came; who shows them makes them harmless for its medium (see harness.record.text)."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from harness.errors import ExitCode
from harness.record.rundir import RunDirectory
from harness.record.state import ExpectationState, FaultState, RunState
from harness.record.text import figure, one_line
from harness.spec.units import format_duration
from harness.spec.verdict import Verdict

NONE = "–"
"""Stands where there is nothing to say."""
_MAX_NODES = 16
_MAX_FAULTS = 30
_MAX_WARNINGS = 20
_MAX_VIOLATIONS = 3
_MAX_EVIDENCE = 8
_EVIDENCE_LENGTH = 200


class Mood(StrEnum):
    """How a row is to be taken; faces choose colours by it."""

    GOOD = "good"
    DOUBTFUL = "doubtful"
    BAD = "bad"
    PLAIN = "plain"


_MOOD_OF_VERDICT = {Verdict.PASS: Mood.GOOD, Verdict.UNKNOWN: Mood.DOUBTFUL, Verdict.FAIL: Mood.BAD}


def mood_of(verdict: str) -> Mood:
    """The mood of a verdict's text; anything that is no verdict is doubtful."""
    return next((mood for known, mood in _MOOD_OF_VERDICT.items() if known == verdict), Mood.DOUBTFUL)


@dataclass(frozen=True, slots=True)
class Row:
    """`cells` in the order of the table's columns; `under` continues the row: small print."""

    cells: tuple[str, ...]
    mood: Mood = Mood.PLAIN
    under: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """`numeric` are the columns to be set flush right; `more` says what was left out."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    numeric: frozenset[str] = frozenset()
    more: str = ""


@dataclass(frozen=True, slots=True)
class Detail:
    """Why an expectation did not pass: what was seen, and when."""

    title: str
    lines: tuple[str, ...]
    mood: Mood


@dataclass(frozen=True, slots=True)
class Summary:
    """All that is shown of a run at its end, from top to bottom. `files` and `again`: where the rest is, and the
    command that runs the same once more; both empty for a run without a directory."""

    name: str
    run_id: str
    facts: tuple[str, ...]
    phases: str
    nodes: Table
    workloads: Table
    faults: Table
    expectations: Table
    details: tuple[Detail, ...]
    warnings: Table
    verdict: str
    mood: Mood
    exit_code: int | None
    reason: str
    files: tuple[tuple[str, str], ...] = ()
    again: str = ""

    @property
    def tables(self) -> tuple[Table, ...]:
        return (self.nodes, self.workloads, self.faults, self.expectations, self.warnings)


def summarize(
    state: RunState, directory: RunDirectory | None = None, *, alive: bool = False, skipped: int = 0
) -> Summary:
    """Of a finished run, or of one that still runs (`alive`) or was killed. `skipped`: lines of its journal that
    could not be read."""
    run, finish = state.run, state.finish
    verdict, mood, reason = _verdict(state, alive)
    return Summary(
        name=run.name if run else "run",
        run_id=run.run_id if run else directory.run_id if directory else "",
        facts=_facts(state),
        phases=_phases(state),
        nodes=_nodes(state),
        workloads=_workloads(state),
        faults=_faults(state),
        expectations=_expectations(state),
        details=tuple(filter(None, map(_detail, state.expectations.values()))),
        warnings=_warnings(state, skipped),
        verdict=verdict,
        mood=mood,
        exit_code=finish.exit_code if finish else None,
        reason=reason,
        files=_files(directory) if directory else (),
        again=_again(state) if directory else "",
    )


def moment(t: float | None) -> str:
    """Seconds since the run began, as they stand before every line of a run: `+12.3s`."""
    return NONE if t is None else f"+{t:.1f}s"


def _seconds(seconds: float | None) -> str:
    return NONE if seconds is None else format_duration(seconds)


def _verdict(state: RunState, alive: bool) -> tuple[str, Mood, str]:
    finish = state.finish
    if finish is None:
        if alive:
            return "RUNNING", Mood.PLAIN, f"in phase {state.phase or 'plan'}, {_seconds(state.t)} after its start"
        return "DEAD", Mood.BAD, f"its controller was gone {_seconds(state.t)} after the start; see `harness clean`"
    if finish.status == "done":
        return finish.verdict.upper(), mood_of(finish.verdict), finish.reason
    return finish.status.replace("-", " ").upper(), Mood.BAD, finish.reason


def _facts(state: RunState) -> tuple[str, ...]:
    run = state.run
    if run is None:
        return ()
    took = state.finish.seconds if state.finish else state.t
    facts = [f"chain {run.chain}", f"deployer {run.deployer}", f"{len(state.nodes)} nodes", f"seed {run.seed}"]
    facts += [f"duration {_seconds(run.duration)} (whole run {_seconds(took)})"]
    if state.began:
        facts.append(datetime.fromtimestamp(state.began, UTC).strftime("%Y-%m-%d %H:%M:%S UTC"))
    return (*facts, *(f"{key} = {_value(value)}" for key, value in run.variables.items()))


def _phases(state: RunState) -> str:
    return " · ".join(
        f"{phase.phase} {_seconds(phase.seconds)}{'' if phase.ok in (True, None) else ' (failed)'}"
        for phase in state.phases
    )


def _nodes(state: RunState) -> Table:
    columns = ("node", "role", "machine", "state", "height", "behind", "exits", "last error")
    rows = []
    for node in state.nodes.values():
        lag = state.lag(node.name)
        cells = (node.name, node.role, node.machine, node.state, str(node.height), NONE if lag is None else str(lag))
        rows.append(
            Row((*cells, str(node.exits), one_line(node.last_error, 80)), Mood.BAD if node.exits else Mood.PLAIN)
        )
    if len(rows) > _MAX_NODES:  # the ones that something happened to come first
        rows.sort(key=lambda row: row.mood is Mood.PLAIN)
    numeric = frozenset({"height", "behind", "exits"})
    return _table("nodes", columns, rows, _MAX_NODES, numeric, drop_empty=("machine", "last error"))


def _table(
    title: str,
    columns: tuple[str, ...],
    rows: Sequence[Row],
    limit: int,
    numeric: frozenset[str] = frozenset(),
    drop_empty: Sequence[str] = (),
) -> Table:
    """At most `limit` rows; columns of `drop_empty` only where at least one row has something there."""
    kept = [i for i, name in enumerate(columns) if name not in drop_empty or any(row.cells[i] for row in rows)]
    shown = tuple(Row(tuple(row.cells[i] for i in kept), row.mood, row.under) for row in rows[:limit])
    more = f"… and {len(rows) - limit} more in the journal" if len(rows) > limit else ""
    return Table(title, tuple(columns[i] for i in kept), shown, numeric, more)


def _workloads(state: RunState) -> Table:
    rows = [Row((workload.workload, figures_line(workload.figures))) for workload in state.workloads.values()]
    return Table("workloads", ("workload", "figures"), tuple(row for row in rows if row.cells[1]))


def figures_line(figures: Mapping[str, Any], limit: int = 0) -> str:
    """`offered 1,200 · accepted 1,198 …`: the first `limit` of them, all when it is 0."""
    items = list(figures.items())[: limit or None]
    return " · ".join(f"{one_line(name.replace('_', ' '))} {figure(value)}" for name, value in items)


def _faults(state: RunState) -> Table:
    columns = ("id", "fault", "targets", "by", "injected", "held", "proven", "healed", "error")
    rows = [_fault(fault) for fault in state.faults.values()]
    if len(rows) > _MAX_FAULTS:
        rows.sort(key=lambda row: row.mood is not Mood.BAD)
    return _table("faults", columns, rows, _MAX_FAULTS, frozenset({"injected", "held"}), drop_empty=("by", "error"))


def _fault(fault: FaultState) -> Row:
    reached = fault.reached
    proven = _after(reached, "injected", "proven") if "proven" in reached else "NO" if _past_proof(fault) else NONE
    healed = _after(reached, "healing", "healed") if "healed" in reached else "NO" if fault.broken else NONE
    if fault.stage == "not-applied":
        healed = NONE
    held = "holds" if fault.active and fault.held is None else _seconds(fault.held)
    cells = (
        fault.id,
        fault.fault,
        ", ".join(fault.targets),
        fault.by,
        moment(reached.get("injected")),
        held,
        proven,
        healed,
        one_line(fault.error, 120),
    )
    return Row(cells, Mood.BAD if fault.broken else Mood.PLAIN)


def _past_proof(fault: FaultState) -> bool:
    return bool(fault.reached.keys() & {"not-applied", "healing", "healed", "not-healed"})


def _after(reached: Mapping[str, float], start: str, end: str) -> str:
    """How long it took to see it: `after 120ms`; only "yes" where its begin is not known."""
    if start not in reached:
        return "yes"
    return f"after {_seconds(max(0.0, reached[end] - reached[start]))}"


def _expectations(state: RunState) -> Table:
    rows = []
    for one in state.expectations.values():
        verdict = one.verdict or ("violated" if one.violation_count else "not judged")
        mood = mood_of(one.verdict) if one.verdict else Mood.BAD if one.violation_count else Mood.DOUBTFUL
        under = "" if one.verdict == Verdict.PASS or not one.source else f"asked for at {one.source}"
        rows.append(Row((verdict.upper(), one.expectation, one.measured or NONE, one.asked or NONE), mood, under))
    return Table("expectations", ("verdict", "expectation", "measured", "asked"), tuple(rows))


def _detail(one: ExpectationState) -> Detail | None:
    if one.verdict == Verdict.PASS or not (one.violations or (one.verdict and one.evidence)):
        return None
    lines = [
        f"{moment(seen.t)} {one_line(seen.message, _EVIDENCE_LENGTH)}" for seen in one.violations[:_MAX_VIOLATIONS]
    ]
    if one.violation_count > len(lines) > 0:
        lines.append(f"… and {one.violation_count - len(lines):,} more violations in the journal")
    evidence = one.evidence or one.violations[0].evidence
    lines += [
        f"{one_line(key)}: {one_line(_value(value), _EVIDENCE_LENGTH)}"
        for key, value in list(evidence.items())[:_MAX_EVIDENCE]
    ]
    if len(evidence) > _MAX_EVIDENCE:
        lines.append(f"… and {len(evidence) - _MAX_EVIDENCE} more entries in result.json")
    return Detail(one.expectation, tuple(lines), mood_of(one.verdict) if one.verdict else Mood.BAD)


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _warnings(state: RunState, skipped: int) -> Table:
    rows = [
        Row(
            (remark.level, remark.component, remark.message + (f" (×{remark.count})" if remark.count > 1 else "")),
            Mood.BAD if remark.level == "error" else Mood.DOUBTFUL,
        )
        for remark in state.warnings.values()
    ]
    if skipped:
        message = f"{skipped} lines of the journal could not be read: what they said is not in this summary"
        rows.append(Row(("warning", "journal", message), Mood.DOUBTFUL))
    return _table("warnings", ("level", "from", "message"), rows, _MAX_WARNINGS)


def _files(directory: RunDirectory) -> tuple[tuple[str, str], ...]:
    """What there is of them, relative to the current folder where they lie under it."""
    known = (
        ("run directory", directory.path),
        ("journal", directory.journal),
        ("result", directory.result),
        ("JUnit", directory.junit),
        ("node logs", directory.logs),
    )
    return tuple((label, _short(path)) for label, path in known if path.exists())


def _short(path: Path) -> str:
    cwd = Path.cwd()
    return str(path.relative_to(cwd)) if path.is_relative_to(cwd) else str(path)


def _again(state: RunState) -> str:
    run = state.run
    if run is None or not run.playbook:
        return ""
    variables = [f"{key}={_value(value)}" for key, value in run.variables.items()]
    argv = ["harness", "run", _short(Path(run.playbook)), "--seed", str(run.seed)]
    return shlex.join([*argv, *(part for text in variables for part in ("-e", text))])


def matrix_table(states: Sequence[RunState]) -> Table:
    """One row a run, with the variables in which the runs differ."""
    variables = [state.run.variables if state.run else {} for state in states]
    names = list(dict.fromkeys(name for one in variables for name in one))
    varying = [name for name in names if len({_value(one.get(name)) for one in variables}) > 1]
    rows = []
    for state, values in zip(states, variables, strict=True):
        verdict, mood, _ = _verdict(state, alive=False)
        code = state.finish.exit_code if state.finish else ExitCode.INFRASTRUCTURE
        failing = [e.expectation for e in state.expectations.values() if e.verdict != Verdict.PASS]
        cells = (
            *(_value(values[name]) if name in values else NONE for name in varying),
            verdict,
            str(int(code)),
            _seconds(state.finish.seconds if state.finish else state.t),
            ", ".join(failing) or NONE,
            state.run.run_id if state.run else NONE,
        )
        rows.append(Row(cells, mood))
    columns = (*varying, "verdict", "exit", "took", "not passed", "run")
    return Table("runs", columns, tuple(rows), frozenset({"exit", "took", *varying}))
