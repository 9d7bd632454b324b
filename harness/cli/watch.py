"""`harness watch` and `harness replay`: a run on the screen, as it goes on or as it was."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.attached import has_screen
from harness.cli.options import runs_folder
from harness.cli.runs import runs_option
from harness.errors import ExitCode, UsageError
from harness.record.rundir import find_run


@click.command(short_help="Watch a run that goes on.")
@click.argument("run", default="last")
@runs_option
def watch(run: str, runs_dir: Path | None) -> int:
    """Watch RUN, from any terminal, any number at once; the last one without a name.

    RUN is a run's id, a part of it, its folder, or "last". A run that is over is shown as it ended.

    \b
    Examples:
      harness watch
      harness watch aggressive-chaos
    """
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


def _show(run: str, runs_dir: Path | None, *, replay: bool, speed: float) -> int:
    directory = find_run(runs_folder(runs_dir), run)
    if not has_screen():
        raise UsageError("this needs a terminal; `harness runs show` and `harness logs` tell the same in lines")
    from harness.tui.app import RunApp  # not at the top: Textual takes a while to load

    RunApp(directory, replay=replay, speed=speed).run()
    return ExitCode.PASS
