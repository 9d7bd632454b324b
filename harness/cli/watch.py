"""`harness watch` and `harness replay`: a run on the screen, as it goes on or as it was."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.attached import has_screen
from harness.cli.options import open_project, open_registry, runs_folder
from harness.cli.runs import runs_option
from harness.errors import ExitCode, UsageError
from harness.record.glance import glance
from harness.record.rundir import RunDirectory, find_run, list_runs
from harness.record.text import one_line

OFFERED = 50
"""Runs, the newest, that are offered at most."""


@click.command(short_help="Watch a run that goes on.")
@click.argument("run", required=False)
@runs_option
def watch(run: str | None, runs_dir: Path | None) -> int:
    """Watch RUN, from any terminal, any number at once; without a name one is chosen from a list.

    RUN is a run's id, a part of it, its folder, or "last". A run that is over is shown as it ended.

    \b
    Examples:
      harness watch
      harness watch aggressive-chaos
    """
    if run is None:
        chosen = _choose(runs_folder(runs_dir))
        if chosen is None:
            return ExitCode.PASS
        run = str(chosen.path)
    return _show(run, runs_dir, replay=False, speed=1.0)


@click.command(short_help="Play a run again on the screen.")
@click.argument("run", default="last")
@click.option("--speed", type=click.FloatRange(0.25, 64.0), default=4.0, show_default=True,
              help="How many seconds of the run go by in one.")  # fmt: skip
@runs_option
def replay(run: str, speed: float, runs_dir: Path | None) -> int:
    """Play RUN again, from its journal: space stops and goes on, the arrow keys and the time line seek, [ and ] change
    the speed.

    \b
    Examples:
      harness replay last
      harness replay 2026-01-31T12-00-00-aggressive-chaos-7f3a --speed 16
    """
    return _show(run, runs_dir, replay=True, speed=speed)


def _choose(folder: Path) -> RunDirectory | None:
    """One of the newest runs, those that go on first. None where somebody thought better of it."""
    newest = (glance(directory) for directory in reversed(list_runs(folder)[-OFFERED:]))
    found = [one for one in newest if one.status != "unreadable"]
    if not found:
        raise UsageError(f"there are no runs in {folder} that could be watched")
    found.sort(key=lambda one: one.status != "running")
    if not has_screen():
        listing = "\n".join(one_line(f"  {one.directory.run_id}  {one.status}") for one in found)
        raise UsageError(f"this needs a terminal; `harness runs show` tells of a run in lines. There are:\n{listing}")
    from harness.tui.picker import RunPicker

    return RunPicker(found).run()


def _show(run: str, runs_dir: Path | None, *, replay: bool, speed: float) -> int:
    directory = find_run(runs_folder(runs_dir), run)
    if not has_screen():
        raise UsageError("this needs a terminal; `harness runs show` and `harness logs` tell the same in lines")
    if glance(directory).status == "unreadable":
        raise UsageError(f"{directory.journal} cannot be read; whose is it?")
    from harness.tui.app import RunApp  # not at the top: Textual takes a while to load

    RunApp(directory, lambda: open_registry(open_project()), replay=replay, speed=speed).run()
    return ExitCode.PASS
