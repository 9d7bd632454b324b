"""`harness clean`: what dead runs left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import click

from harness.cli.options import open_project, open_registry, runs_folder
from harness.cli.runs import runs_option
from harness.errors import ExitCode
from harness.plugin.contract.deployer import Deployer
from harness.plugin.discovery import Kind
from harness.record.events import RunStarted
from harness.record.journal import read_journal
from harness.record.rundir import RunDirectory, list_runs
from harness.record.text import block


@click.command()
@runs_option
def clean(runs_dir: Path | None) -> int:
    """Find and remove what dead runs have left behind: processes, and whatever else their deployer makes.

    Only what a run recorded as its own is touched; runs that are still alive are left alone, and so are
    journals, logs and results."""
    registry = open_registry(open_project())
    removed = 0
    for run in list_runs(runs_folder(runs_dir)):
        if run.is_alive():
            click.echo(f"{run.run_id}: still running, left alone")
            continue
        started = _started(run)
        if started is None:
            continue
        cls = registry.get(Kind.DEPLOYER, started.deployer)
        for line in anyio.run(_clean, cls(cls.Config()), run):
            removed += 1
            click.echo(block(f"{run.run_id}: {line}"))
    things = f"{removed} {'thing' if removed == 1 else 'things'} removed"
    click.echo(things if removed else "nothing was left behind")
    return ExitCode.PASS


def _started(run: RunDirectory) -> RunStarted | None:
    if not run.journal.exists():
        return None
    events = (recorded.event for recorded in read_journal(run.journal))
    return next((event for event in events if isinstance(event, RunStarted)), None)


async def _clean(deployer: Deployer[Any], run: RunDirectory) -> list[str]:
    return list(await deployer.clean(run.run_id, run.path))
