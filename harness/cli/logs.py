"""`harness logs`: what a run's nodes have written."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import click

from harness.cli.data_stream import DataStream
from harness.cli.options import runs_folder
from harness.cli.runs import runs_option
from harness.cli.streams import is_read
from harness.errors import ExitCode
from harness.record.logs import NodeLog, Tail, logs_of, select_logs
from harness.record.rundir import RunDirectory, find_run
from harness.record.text import one_line

LOOK_AGAIN = 0.1
"""Seconds between two looks at logs that are followed: another process writes them, and tells nobody."""


@click.command(short_help="Show the logs of a run's nodes.")
@click.argument("run")
@click.argument("nodes", nargs=-1, metavar="[NODE]...")
@click.option("-f", "--follow", is_flag=True, help="Go on while the run does, over restarts of the nodes.")
@click.option("-n", "--lines", type=click.IntRange(min=0), metavar="N", help="Only the last N lines of each.")
@runs_option
def logs(run: str, nodes: tuple[str, ...], follow: bool, lines: int | None, runs_dir: Path | None) -> int:
    """Show what NODEs of RUN have written; without a NODE, which there are and how much they wrote.

    RUN is a run's id, a part of it, its folder, or "last". NODE is a name, a role, a glob, or "all". Of several nodes,
    each line has its node in front. Into a pipe every byte goes as it came; on a terminal, control characters are
    shown as escapes. With -f it ends when the run ends.

    \b
    Examples:
      harness logs last
      harness logs last validator-0 -f -n 20
      harness logs last validators | grep -a panic
    """
    directory = find_run(runs_folder(runs_dir), run)
    there = logs_of(directory)
    if not nodes:
        _list(there)
        return ExitCode.PASS
    _show(directory, select_logs(there, nodes), lines, follow=follow)
    return ExitCode.PASS


def _list(there: Sequence[NodeLog]) -> None:
    width = max((len(log.node.name) for log in there), default=0)
    for log in there:
        size = "no log yet" if log.size is None else f"{log.size:,} bytes"
        click.echo(one_line(f"{log.node.name:<{width}}  {size:>18}  {log.path}"))


def _show(directory: RunDirectory, chosen: Sequence[NodeLog], lines: int | None, *, follow: bool) -> None:
    with ExitStack() as tails:
        shown: list[tuple[Tail, DataStream]] = []
        for log in chosen:
            tail = Tail(log.path, lines)
            tails.callback(tail.close)
            shown.append((tail, DataStream(sys.stdout, log.node.name if len(chosen) > 1 else "")))
        alive = follow
        while is_read(sys.stdout):
            alive = alive and directory.is_alive()  # asked before looking: what it wrote at its end is shown too
            if sum(_advance(tail, stream) for tail, stream in shown):  # each of them, not only the first that grew
                continue
            if not alive:
                break
            time.sleep(LOOK_AGAIN)
        for _, stream in shown:
            stream.close()


def _advance(tail: Tail, stream: DataStream) -> bool:
    """One block at a time: no node's log waits for the end of another's."""
    content = tail.read()
    stream.write(content)
    return bool(content)
