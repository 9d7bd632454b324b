"""`harness runs`: past runs, from their journals."""

from __future__ import annotations

import json
import sys
from itertools import islice
from pathlib import Path

import click

from harness.cli.main import tell
from harness.cli.options import runs_folder
from harness.errors import ExitCode, UsageError
from harness.record.glance import STATUSES, Glance, glance
from harness.record.journal import read_journal
from harness.record.reduce import reduce_all
from harness.record.result import result_of
from harness.record.rundir import RunDirectory, find_run, list_runs
from harness.record.text import block, figure, one_line
from harness.spec.durations import format_duration

runs_option = click.option(
    "--runs", "runs_dir", type=click.Path(path_type=Path), help="Folder of run directories. Default: the project's."
)


@click.group()
def runs() -> None:
    """List past runs, show what one came to, compare two.

    Everything shown is read from the run's journal, so a run that was killed shows as far as it came."""


@runs.command("list")
@runs_option
@click.option(
    "--playbook",
    "playbooks",
    multiple=True,
    metavar="TEXT",
    help="Its name or file has this in it, or is like this pattern.",
)
@click.option("--verdict", "verdicts", multiple=True, type=click.Choice(["pass", "fail", "unknown", "none"]))
@click.option("--status", "statuses", multiple=True, type=click.Choice(STATUSES))
@click.option("--since", metavar="WHEN", help="Begun since then: 2h, 3d, 2026-01-31 or 2026-01-31T12:00 (UTC).")
@click.option("--until", metavar="WHEN", help="Begun before then.")
@click.option("--deployer", "deployers", multiple=True, metavar="NAME")
@click.option("--chain", "chains", multiple=True, metavar="NAME")
@click.option("--matrix", "matrices", multiple=True, metavar="ID", help="The runs of this matrix.")
@click.option("-e", "--var", "variables", multiple=True, metavar="KEY=VALUE", help="Run with this variable.")
@click.option("-n", "--last", type=click.IntRange(min=1), metavar="N", help="Only the last N of them.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_all(
    runs_dir: Path | None,
    playbooks: tuple[str, ...],
    verdicts: tuple[str, ...],
    statuses: tuple[str, ...],
    since: str | None,
    until: str | None,
    deployers: tuple[str, ...],
    chains: tuple[str, ...],
    matrices: tuple[str, ...],
    variables: tuple[str, ...],
    last: int | None,
    as_json: bool,
) -> int:
    """List runs, the oldest first. An option may be given several times: any of its values will do; a run must meet
    every option.

    \b
    Examples:
      harness runs list --verdict fail --since 1d
      harness runs list --playbook 'load*' -e rate=30 -n 5
    """
    from harness.cli.run_filters import RunFilter, parse_moment, parse_variable

    wanted = RunFilter(
        playbooks,
        verdicts,
        statuses,
        deployers,
        chains,
        matrices,
        tuple(map(parse_variable, variables)),
        parse_moment(since) if since else None,
        parse_moment(until) if until else None,
    )
    folder = runs_folder(runs_dir)
    every = list_runs(folder)
    newest = (run for run in map(glance, reversed(every)) if wanted.meets(run))
    found = list(islice(newest, last))[::-1]  # of thousands only so many are looked into as are asked for
    if not found:
        none = f"none of the {len(every)} runs in {folder} is like that" if every else f"there are no runs in {folder}"
        click.echo(block(none), err=True)
    if as_json:
        click.echo(json.dumps(list(map(_listed, found)), indent=2))
        return ExitCode.PASS
    if found and sys.stdout.isatty():
        click.echo(_line("RUN", "VERDICT", "TOOK", "STATUS", "DIFFERS IN"))
    for run in found:
        took = format_duration(run.finish.seconds) if run.finish else "-"
        differs = " ".join(f"{name}={figure(run.variables.get(name))}" for name in run.varies)
        click.echo(_line(run.directory.run_id, run.verdict or "-", took, run.status, differs))
    return ExitCode.PASS


@runs.command()
@click.argument("a")
@click.argument("b")
@runs_option
@click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write it as a page, too."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def compare(a: str, b: str, runs_dir: Path | None, html: Path | None, as_json: bool) -> int:
    """Compare run B with run A: verdicts, what was measured, settings. What differs is told apart from noise."""
    from harness.cli.compare import show_comparison

    folder = runs_folder(runs_dir)
    return show_comparison(find_run(folder, a), find_run(folder, b), html=html, as_json=as_json)


@runs.command()
@click.argument("run", default="latest")
@runs_option
@click.option("--json", "as_json", is_flag=True, help="As JSON: what result.json holds, also of a run that was killed.")
@click.option("--faults", is_flag=True, help="The schedule of its faults, and what became of each turn.")
@click.option("--nodes", is_flag=True, help="Where its nodes are, and what to type to get there.")
def show(run: str, runs_dir: Path | None, as_json: bool, faults: bool, nodes: bool) -> int:
    """Show what RUN came to. RUN is a run's id, a part of it, its folder, or "latest"."""
    directory = find_run(runs_folder(runs_dir), run)
    if faults:
        from harness.cli.fault_view import show_faults

        return show_faults(directory, as_json=as_json)
    if nodes and not as_json:
        from harness.cli.node_view import show_nodes

        show_nodes(directory)
        return ExitCode.PASS
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


@runs.command()
@click.argument("run", default="latest")
@runs_option
def export(run: str, runs_dir: Path | None) -> int:
    """Write RUN to one file (journal, result, report, logs) in the current folder.

    Secrets are redacted in all but the nodes' own logs."""
    from harness.record.bundle import bundle

    directory = find_run(runs_folder(runs_dir), run)
    try:
        made = bundle(directory, Path.cwd())
    except OSError as error:
        raise UsageError(f"{directory.run_id} cannot be exported: {error}") from error
    click.echo(made.path)
    for one in made.left_out:
        tell(f"not in it: {one}")
    return ExitCode.PASS


def _line(run: str, verdict: str, took: str, status: str, differs: str) -> str:
    return one_line(f"{run:<54} {verdict:<8} {took:>9}  {status:<11} {differs}".rstrip())


def _listed(run: Glance) -> dict[str, object]:
    return {"id": run.directory.run_id, "status": run.status} if run.status == "unreadable" else _result(run.directory)


def _result(run: RunDirectory) -> dict[str, object]:
    state = reduce_all(read_journal(run.journal)) if run.journal.exists() else reduce_all(())
    return {"id": run.run_id, **result_of(state, alive=run.is_alive())}
