"""`harness clean`: what dead runs left behind."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from harness.cli.interrupts import Interrupted, run_interruptible
from harness.cli.main import tell
from harness.cli.options import open_project, open_registry, runs_folder
from harness.cli.runs import runs_option
from harness.engine.target import recorded_deployer
from harness.errors import ExitCode, HarnessError, UsageError
from harness.plugin.registry import Registry
from harness.record.events import RunStarted
from harness.record.journal import read_journal
from harness.record.rundir import RunDirectory, is_run, list_runs
from harness.record.text import counted, one_line


@click.command()
@runs_option
def clean(runs_dir: Path | None) -> int:
    """Find and remove what dead runs have left behind: processes, and whatever else their deployer makes.

    Only what a run recorded as its own is touched; runs that are still alive are left alone, and so are journals, logs
    and results. What cannot be cleaned is told, the others are; the exit code then is 5."""
    if runs_dir is not None:
        _refuse_what_holds_no_runs(runs_dir)
    registry = open_registry(open_project())
    removed, failed = 0, 0
    for run in list_runs(runs_folder(runs_dir)):
        try:
            started = _started(run)
            if run.is_alive():
                click.echo(f"{run.run_id}: still running, left alone")
                continue
            lines = _clean(registry, run, started)
        except Interrupted:
            return ExitCode.INTERRUPTED
        except OSError as error:  # somebody else's, most of the time: the others are cleaned all the same
            failed += 1
            tell(f"{run.run_id}: cannot be looked into: {error}")
            continue
        except HarnessError as error:
            failed += 1
            tell(f"{run.run_id}: {error}")
            continue
        for line in lines:
            click.echo(one_line(f"{run.run_id}: {line}"))
        removed += len(lines)
    if removed or not failed:
        click.echo(f"{counted(removed, 'thing')} removed" if removed else "nothing was left behind")
    return ExitCode.TEARDOWN if failed else ExitCode.PASS


def _refuse_what_holds_no_runs(folder: Path) -> None:
    """Nothing would be found there, and "nothing was left behind" would not be true."""
    if not folder.is_dir():
        raise UsageError(f"--runs {folder}: {'is a file, no folder' if folder.exists() else 'there is no such folder'}")
    if is_run(folder.absolute()):
        raise UsageError(f"--runs {folder}: is the folder of one run; name the folder that it lies in")


def _clean(registry: Registry, run: RunDirectory, started: RunStarted | None) -> Sequence[str]:
    if started is None:  # killed before there was anything
        return ()
    deployer = recorded_deployer(registry, started)
    return run_interruptible(partial(deployer.clean, run.run_id, run.path))


def _started(run: RunDirectory) -> RunStarted | None:
    events = (recorded.event for recorded in read_journal(run.journal))
    try:
        return next((event for event in events if isinstance(event, RunStarted)), None)
    except FileNotFoundError:
        return None
