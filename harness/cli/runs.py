"""`harness runs`: past runs, from their journals."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from harness.cli.options import runs_folder
from harness.errors import ExitCode
from harness.record.journal import read_journal
from harness.record.reduce import reduce_all
from harness.record.result import result_of
from harness.record.rundir import RunDirectory, find_run, list_runs
from harness.record.text import block, one_line

runs_option = click.option(
    "--runs", "runs_dir", type=click.Path(path_type=Path), help="Folder of run directories. Default: the project's."
)


@click.group()
def runs() -> None:
    """List past runs, and show what one came to.

    Everything shown is read from the run's journal, so a run that was killed shows as far as it came."""


@runs.command("list")
@runs_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_all(runs_dir: Path | None, as_json: bool) -> int:
    """List runs, the oldest first."""
    folder = runs_folder(runs_dir)
    found = list_runs(folder)
    if not found:
        click.echo(block(f"there are no runs in {folder}"), err=True)
    if as_json:
        click.echo(json.dumps([_result(run) for run in found], indent=2))
        return ExitCode.PASS
    for run in found:
        state = reduce_all(read_journal(run.journal)) if run.journal.exists() else None
        status = state.status(run.is_alive()) if state and state.seq else "empty"
        verdict = state.finish.verdict if state and state.finish else "-"
        click.echo(one_line(f"{run.run_id:<64} {verdict:<8} {status}"))
    return ExitCode.PASS


@runs.command()
@click.argument("run", default="latest")
@runs_option
@click.option("--json", "as_json", is_flag=True, help="As JSON: what result.json holds, also of a run that was killed.")
@click.option("--faults", is_flag=True, help="The schedule of its faults, and what became of each turn.")
def show(run: str, runs_dir: Path | None, as_json: bool, faults: bool) -> int:
    """Show what RUN came to. RUN is a run's id, a part of it, its folder, or "latest"."""
    directory = find_run(runs_folder(runs_dir), run)
    if faults:
        from harness.cli.fault_view import show_faults

        return show_faults(directory, as_json=as_json)
    if as_json:
        click.echo(json.dumps(_result(directory), indent=2))
        return ExitCode.PASS
    from harness.record.render import console_for, render_summary
    from harness.record.summary import summarize

    journal = read_journal(directory.journal)
    state = reduce_all(journal) if directory.journal.exists() else reduce_all(())
    summary = summarize(state, directory, alive=directory.is_alive(), skipped=journal.skipped)
    render_summary(summary, console_for(sys.stdout))
    return ExitCode.PASS


def _result(run: RunDirectory) -> dict[str, object]:
    state = reduce_all(read_journal(run.journal)) if run.journal.exists() else reduce_all(())
    return {"id": run.run_id, **result_of(state, alive=run.is_alive())}
