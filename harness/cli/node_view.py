"""Where a run's nodes are, and how one gets there."""

from __future__ import annotations

import shlex

import click

from harness.record.journal import read_journal
from harness.record.reduce import reduce_all
from harness.record.rundir import RunDirectory
from harness.record.state import NodeStatus
from harness.record.text import one_line
from harness.spec.durations import format_duration


def show_nodes(directory: RunDirectory) -> None:
    """Print each node with what brings one there, a line each, so that it can be copied. Raises OSError."""
    state = reduce_all(read_journal(directory.journal) if directory.journal.exists() else ())
    for node in state.nodes.values():
        click.echo(one_line(" · ".join(filter(None, (node.name, node.role, node.machine, node.state)))))
        for word, value in _told(node):
            click.echo(one_line(f"  {word:<7} {value}"))
        click.echo(one_line(f"  log     {shlex.join(['harness', 'logs', str(directory.path), node.name])}"))


def _told(node: NodeStatus) -> list[tuple[str, str]]:
    told = []
    if node.reach:
        told.append(("reach", shlex.join(node.reach)))
    if node.directory and node.directory not in node.reach:
        told.append(("folder", node.directory))
    if node.clock_ahead is not None:
        off = f"{node.clock_ahead:+.3g}s" if node.clock_correction else "right"
        told.append(("clock", f"{off}, ±{format_duration(node.clock_uncertainty)}"))
    return told
