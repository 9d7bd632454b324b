"""`harness run` on a terminal: the run is a process of its own, and the screen only one of those that watch it. So that
closing the screen, or the terminal, ends nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import click

from harness.cli.options import open_project, open_registry
from harness.errors import ExitCode
from harness.record.journal import read_journal
from harness.record.reduce import reduce_all
from harness.record.rundir import RunDirectory


def has_screen() -> bool:
    """Whether somebody looks on: a terminal that can be drawn on, and no CI."""
    usable = os.environ.get("TERM", "dumb") not in ("", "dumb") and not os.environ.get("CI")
    return usable and all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


def run_attached(arguments: Sequence[str]) -> int:
    """Start `harness run` with these arguments on its own and show it. Returns its exit code; `unknown` where it was
    left running."""
    reading, writing = os.pipe()
    with os.fdopen(reading, encoding="utf-8") as announced:
        process = _start([*arguments, "--announce", str(writing)], writing)
        os.close(writing)
        click.echo("looking at the plan and the machines …", err=True)
        shown: list[RunDirectory] = []
        for line in _lines(announced, process):
            shown.append(RunDirectory(Path(line.rstrip("\n"))))
            if not _watch(shown[-1]):
                return _left(shown[-1])
    code = process.wait()
    if not shown and process.stderr is not None:  # it came to no run: all that it has said is why
        click.echo(process.stderr.read(), err=True, nl=False)
    _summarize(shown)
    return code if code >= 0 else ExitCode.INFRASTRUCTURE


def announce(descriptor: int, directory: RunDirectory) -> None:
    """Of a run that was begun: tell whoever shows it, and write from now on into its folder."""
    log = os.open(directory.path / "controller.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)
    line = f"{directory.path}\n".encode()
    try:
        os.write(descriptor, line)
    except BrokenPipeError:
        return  # nobody looks on any more


def _start(arguments: Sequence[str], announcing: int) -> subprocess.Popen[str]:
    """In a session of its own: the terminal's signals are not for it."""
    return subprocess.Popen(
        [sys.executable, "-m", "harness", "run", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=(announcing,),
        start_new_session=True,
    )


def _lines(announced: IO[str], process: subprocess.Popen[str]) -> Iterator[str]:
    """A run each, until there are no more. Ctrl-C while none is shown is for the run, as without a screen."""
    while True:
        try:
            line = announced.readline()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            continue
        if not line:
            return
        yield line


def _watch(directory: RunDirectory) -> bool:
    """Show it until it is over and whoever looks on has seen enough. Whether it is over."""
    from harness.tui.app import RunApp  # not at the top: Textual takes a while to load

    app = RunApp(directory, lambda: open_registry(open_project()), in_series=True)
    app.run()
    return not app.is_left_running


def _left(directory: RunDirectory) -> int:
    click.echo(f"the run goes on: {directory.run_id}", err=True)
    click.echo(f"watch it again:  harness watch {directory.shown}", err=True)
    return ExitCode.UNKNOWN


def _summarize(runs: Sequence[RunDirectory]) -> None:
    if not runs:
        return
    from harness.record.render import console_for, render_summary, render_table
    from harness.record.summary import matrix_table, summarize

    out: IO[str] = sys.stdout
    states = []
    for directory in runs:
        journal = read_journal(directory.journal)
        state = reduce_all(journal)
        states.append(state)
        render_summary(summarize(state, directory, skipped=journal.skipped), console_for(out))
    if len(runs) > 1:
        click.echo()
        render_table(matrix_table(states), console_for(out))
