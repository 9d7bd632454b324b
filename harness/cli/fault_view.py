"""`harness runs show RUN --faults`: the schedule of a run's faults, and what became of each turn."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import click

from harness.errors import ExitCode
from harness.record.journal import read_journal
from harness.record.rundir import RunDirectory
from harness.record.tables import NONE, Mood, Row, Table
from harness.record.turns import TurnTaken, turns_taken
from harness.spec.durations import format_duration

_MOODS = {
    "healed": Mood.GOOD,
    "not-applied": Mood.BAD,
    "not-healed": Mood.BAD,
    "skipped": Mood.PLAIN,
    "not reached": Mood.PLAIN,
}


def show_faults(run: RunDirectory, *, as_json: bool) -> int:
    turns = turns_taken(read_journal(run.journal)) if run.journal.exists() else []
    if as_json:
        click.echo(json.dumps([asdict(turn) for turn in turns], indent=2))
        return ExitCode.PASS
    from harness.record.render import console_for, render_table

    columns = ("at", "by", "fault", "nodes", "for", "injected", "proven", "healed", "outcome")
    rows = tuple(Row(_cells(turn), _MOODS.get(turn.outcome, Mood.DOUBTFUL)) for turn in turns)
    numeric = frozenset({"at", "for", "injected", "proven", "healed"})
    title = "faults" if turns else "no faults"
    about = f"of {run.run_id}" + ("; seconds since the drive began" if turns else "")  # a heading would be in capitals
    wide = frozenset({"fault", "nodes", "outcome"})
    render_table(Table(title, columns, rows, numeric, wide, (about,)), console_for(sys.stdout))
    return ExitCode.PASS


def _cells(turn: TurnTaken) -> tuple[str, ...]:
    """Moments are seconds since the drive began."""
    options = ", ".join(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in turn.options.items())
    fault = f"{turn.fault} by {turn.mechanism}" if turn.mechanism else turn.fault
    reached = (
        f"{turn.stages[stage]:.1f}" if stage in turn.stages else NONE for stage in ("injected", "proven", "healed")
    )
    return (
        f"{turn.at:.1f}",
        turn.component,
        f"{fault} ({options})" if options else fault,
        ", ".join(turn.targets) or NONE,
        NONE if turn.duration is None else format_duration(turn.duration),
        *reached,
        f"{turn.outcome}: {turn.why}" if turn.why else turn.outcome,
    )
