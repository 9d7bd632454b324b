"""What a run came to, as tables of text: the same data for terminals, files and pages.

Texts here are as they came; who shows them makes them harmless for its medium (see harness.record.text)."""

from __future__ import annotations

import json
import math
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import ExitCode
from harness.record.codec import jsonable
from harness.record.evidence import evidence_lines
from harness.record.rundir import RunDirectory
from harness.record.sent_from import sent_from
from harness.record.state import ExpectationState, FaultState, Remark, RunState
from harness.record.tables import NONE, Mood, Row, Table, mood_of
from harness.record.text import counted, figure, one_line, sentence
from harness.spec.durations import format_duration
from harness.spec.verdict import Verdict

_MAX_NODES = 16
_MAX_FAULTS = 30
_MAX_WARNINGS = 20
_MAX_VIOLATIONS = 3
_MAX_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Detail:
    """Why an expectation did not pass: what was seen, and when. `source`: where it is asked for."""

    title: str
    source: str
    lines: tuple[str, ...]
    mood: Mood


@dataclass(frozen=True, slots=True)
class Summary:
    """All that is shown of a run at its end, from top to bottom. `files` and `again`: where the rest is, and the
    command that runs the same once more."""

    name: str
    run_id: str
    facts: tuple[str, ...]
    variables: tuple[str, ...]
    phases: str
    prepare: str
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
    state: RunState,
    directory: RunDirectory | None = None,
    *,
    alive: bool = False,
    skipped: int = 0,
    command: Sequence[str] = (),
) -> Summary:
    """Of a finished run, or of one that still runs (`alive`) or was killed. `skipped`: lines of its journal that
    could not be read. `command`: the words that it was started with, for a run that ended before it could say so."""
    run, finish = state.run, state.finish
    verdict, mood, reason = _verdict(state, alive, skipped)
    return Summary(
        name=run.name if run else "run",
        run_id=run.run_id if run else directory.run_id if directory else "",
        facts=_facts(state),
        variables=tuple(f"{key} = {_value(value)}" for key, value in run.variables.items()) if run else (),
        phases=_phases(state),
        prepare=prepare_line(state),
        nodes=_nodes(state, alive),
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
        again=_again(state, command),
    )


def moment(t: float | None) -> str:
    """Seconds since the run began, as they stand before every line of a run: `+12.3s`."""
    return NONE if t is None else f"+{t:.1f}s"


def _seconds(seconds: float | None) -> str:
    return NONE if seconds is None or not math.isfinite(seconds) else format_duration(seconds)


def _verdict(state: RunState, alive: bool, skipped: int = 0) -> tuple[str, Mood, str]:
    finish = state.finish
    if finish is None:
        if alive:
            return "RUNNING", Mood.PLAIN, f"in phase {state.phase or 'plan'}, {_seconds(state.t)} after its start"
        if not state.seq:
            left = "nothing of its journal can be read" if skipped else "wrote nothing into its journal"
            return "DEAD", Mood.BAD, f"its controller is gone and {left}"
        return "DEAD", Mood.BAD, f"its controller was gone {_seconds(state.t)} after the start; see `harness clean`"
    if finish.status == "done":
        return finish.verdict.upper(), mood_of(finish.verdict), finish.reason
    return finish.status.replace("-", " ").upper(), Mood.BAD, finish.reason


def _facts(state: RunState) -> tuple[str, ...]:
    run = state.run
    if run is None:
        return ()
    took = state.finish.seconds if state.finish else state.t
    facts = [f"chain {run.chain}", f"deployer {run.deployer}", counted(len(state.nodes), "node"), f"seed {run.seed}"]
    facts += [f"duration {_seconds(run.duration)} (whole run {_seconds(took)})"]
    if state.paused_for:
        facts.append(f"workloads paused for {_seconds(state.paused_for)}")
    if state.started is not None:
        facts.append(state.started.strftime("%Y-%m-%d %H:%M:%S UTC"))
    return tuple(facts)


def _phases(state: RunState) -> str:
    return " · ".join(
        f"{phase.phase} {_seconds(phase.seconds)}{'' if phase.ok in (True, None) else ' (failed)'}"
        for phase in state.phases
    )


def prepare_line(state: RunState) -> str:
    """`3 tasks on 4 hosts, 2 changed`: how often one of them changed something. "" where there were none."""
    if not state.tasks:
        return ""
    hosts = state.prepared.values()
    failed = sum(bool(host.error) for host in hosts)
    line = f"{counted(len(state.tasks), 'task')} on {counted(len(hosts), 'host')}, "
    return f"{line}{sum(host.changed for host in hosts):,} changed" + (f", {failed:,} failed" if failed else "")


def _nodes(state: RunState, alive: bool) -> Table:
    nodes = list(state.nodes.values())
    if len(nodes) > _MAX_NODES:  # the ones that something happened to come first
        nodes.sort(key=lambda node: not node.exits)
    rows = []
    for node in nodes[:_MAX_NODES]:
        lag = state.lag(node.name)
        # Nodes end with the controller that they belong to.
        is_gone = not alive and state.finish is None and node.state in ("starting", "running", "paused")
        stands = "gone" if is_gone else node.state
        cells = (node.name, node.role, node.machine, stands, str(node.height), NONE if lag is None else str(lag))
        rows.append(Row((*cells, str(node.exits)), Mood.BAD if node.exits else Mood.PLAIN))
    notes = [f"{node.name}: {one_line(node.last_error, _MAX_LENGTH)}" for node in nodes if node.exits]
    return Table(
        "nodes",
        ("node", "role", "machine", "state", "height", "behind", "exits"),
        tuple(rows),
        numeric=frozenset({"height", "behind", "exits"}),
        wide=frozenset({"machine"}),
        notes=(*notes[:_MAX_NODES], *_left_out(nodes, _MAX_NODES)),
    )


def _left_out(items: Sequence[object], limit: int) -> tuple[str, ...]:
    return (f"… and {len(items) - limit} more in the journal",) if len(items) > limit else ()


def _workloads(state: RunState) -> Table:
    rows = [Row((workload.workload, figures_line(workload.figures))) for workload in state.workloads.values()]
    return Table(
        "workloads",
        ("workload", "figures"),
        tuple(row for row in rows if row.cells[1]),
        wide=frozenset({"figures"}),
        notes=tuple(line for workload in state.workloads.values() if (line := sent_from(workload))),
    )


def figures_line(figures: Mapping[str, Any], limit: int = 0) -> str:
    """`offered 1,200 · accepted 1,198 …`: the first `limit` of them, all when it is 0."""
    items = list(figures.items())[: limit or None]
    return " · ".join(f"{one_line(name.replace('_', ' '))} {figure(value)}" for name, value in items)


def _faults(state: RunState) -> Table:
    faults = list(state.faults.values())
    if len(faults) > _MAX_FAULTS:
        faults.sort(key=lambda fault: not fault.broken)
    shown = faults[:_MAX_FAULTS]
    notes = [f"{fault.id}: {one_line(sentence(fault.error), _MAX_LENGTH)}" for fault in shown if fault.error]
    return Table(
        "faults",
        ("id", "fault", "targets", "injected", "held", "proven", "healed"),
        tuple(map(_fault, shown)),
        numeric=frozenset({"injected", "held"}),
        wide=frozenset({"targets"}),
        notes=(*notes, *_left_out(faults, _MAX_FAULTS)),
    )


def _fault(fault: FaultState) -> Row:
    reached = fault.reached
    proven = _after(reached, "injected", "proven") if "proven" in reached else "NO" if _past_proof(fault) else NONE
    healed = _after(reached, "healing", "healed") if "healed" in reached else "NO" if fault.broken else NONE
    proven = "unknown" if "unproven" in reached else proven
    healed = "unknown" if "healing-unproven" in reached else healed
    if fault.stage == "not-applied":
        healed = NONE
    held = "holds" if fault.active and fault.held is None else _seconds(fault.held)
    cells = (
        fault.id,
        fault.fault,
        ", ".join(fault.targets),
        moment(reached.get("injected")),
        held,
        proven,
        healed,
    )
    return Row(cells, Mood.BAD if fault.broken else Mood.DOUBTFUL if fault.doubtful else Mood.PLAIN)


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
        rows.append(Row((verdict.upper(), one.expectation, one.measured or NONE, one.asked or NONE), mood))
    columns = ("verdict", "expectation", "measured", "asked")
    return Table("expectations", columns, tuple(rows), wide=frozenset({"measured", "asked"}))


def _detail(one: ExpectationState) -> Detail | None:
    if one.verdict == Verdict.PASS or not (one.verdict or one.violations):
        return None
    lines = [f"{moment(seen.t)} {one_line(seen.message, _MAX_LENGTH)}" for seen in one.violations[:_MAX_VIOLATIONS]]
    if one.violation_count > len(lines) > 0:
        lines.append(f"… and {one.violation_count - len(lines):,} more violations in the journal")
    evidence = one.evidence or (one.violations[0].evidence if one.violations else {})
    lines += evidence_lines(evidence, one.measured)
    source = f"asked for at {one.source}" if one.source else "a workload's own expectation" if one.verdict else ""
    return Detail(one.expectation, source, tuple(lines), mood_of(one.verdict) if one.verdict else Mood.BAD)


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(jsonable(value), ensure_ascii=False)


def sentence_of(remark: Remark) -> str:
    return sentence(remark.message) + (f" (×{remark.count})" if remark.count > 1 else "")


def _warnings(state: RunState, skipped: int) -> Table:
    remarks = list(state.warnings.values())
    rows = [
        Row(
            (remark.level, remark.component, sentence_of(remark)),
            Mood.BAD if remark.level == "error" else Mood.DOUBTFUL,
        )
        for remark in remarks[:_MAX_WARNINGS]
    ]
    if skipped:
        message = (
            f"{counted(skipped, 'line')} of the journal could not be read: what was said there is not in this summary"
        )
        rows.append(Row(("warning", "journal", message), Mood.DOUBTFUL))
    columns = ("level", "from", "message")
    notes = _left_out(remarks, _MAX_WARNINGS)
    return Table("warnings", columns, tuple(rows), wide=frozenset({"message"}), notes=notes)


def _files(directory: RunDirectory) -> tuple[tuple[str, str], ...]:
    """What there is of them, relative to the current folder where they lie under it."""
    known = (
        ("run directory", directory.path),
        ("report", directory.report),
        ("journal", directory.journal),
        ("result", directory.result),
        ("JUnit", directory.junit),
        ("node logs", directory.logs),
    )
    return tuple((label, short_path(path)) for label, path in known if path.exists())


def short_path(path: Path) -> str:
    """Relative to the current folder, where it lies under it."""
    cwd = Path.cwd()
    return str(path.relative_to(cwd)) if path.is_relative_to(cwd) else str(path)


def _again(state: RunState, command: Sequence[str]) -> str:
    """The words that it was started with, and the seed and variables that make it the same run."""
    run = state.run
    if run is None:
        return shlex.join(command)
    if not (run.command or run.playbook):
        return ""
    words = list(run.command) or ["harness", "run", short_path(Path(run.playbook))]
    if "--seed" not in words:
        words += ["--seed", str(run.seed)]
    given = {word.partition("=")[0] for word in words}
    for key, value in run.variables.items():
        if key not in given:
            words += ["-e", f"{key}={_extra(value)}"]
    return shlex.join(words)


def _extra(value: Any) -> str:
    """A variable's value as `-e` reads it back: text that would be read as another TOML value is quoted."""
    from harness.spec.toml_writer import inline  # here, since many commands show tables and few show this

    if isinstance(value, str):
        try:
            tomllib.loads(f"value = {value}")
        except tomllib.TOMLDecodeError:
            return value
    try:
        return inline(value)
    except TypeError:  # a journal can hold what no variable can be
        return json.dumps(jsonable(value))


def matrix_table(states: Sequence[RunState], planned: Sequence[Mapping[str, Any]] = ()) -> Table:
    """One row a run, with the variables in which the runs differ. `planned`: the variables of all runs that there
    were to be, where the series may have been interrupted."""
    variables = [state.run.variables if state.run else {} for state in states]
    every = [*variables, *planned]
    names = list(dict.fromkeys(name for one in every for name in one))
    varying = [name for name in names if len({_value(one.get(name)) for one in every}) > 1]
    title = f"{len(states)} of {len(planned)} runs" if len(planned) > len(states) else "runs"
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
    return Table(title, columns, tuple(rows), frozenset({"exit", "took", *varying}), frozenset({"not passed"}))
