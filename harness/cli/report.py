"""`harness report`: a run, or the runs of a matrix, as one page to look at."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import runs_folder
from harness.cli.runs import runs_option
from harness.errors import ExitCode, UsageError
from harness.record.rundir import find_run
from harness.record.text import one_line


@click.command(short_help="Write a page that shows what a run came to.")
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@runs_option
@click.option("--matrix", is_flag=True, help="One summary of all runs of RUN's matrix, or of all the RUNs named.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write it here. Default: report.html in the run's folder; a matrix's beside its runs.")  # fmt: skip
def report(runs: tuple[str, ...], runs_dir: Path | None, matrix: bool, output: Path | None) -> int:
    """Write RUN's report: one HTML file that needs nothing else, with verdict and evidence, charts, faults, nodes and
    the playbook. RUN is a run's id, a part of it, its folder, or "latest" (the default). Of several RUNs each gets its
    own. Also of a run that goes on, and of one that was killed. The paths of what was written go to stdout.

    \b
    Examples:
      harness report
      harness report 2026-01-31T12 -o /tmp/chaos.html
      harness report latest --matrix
    """
    from harness.cli.reporting import matrix_of, write_matrix, write_report

    folder = runs_folder(runs_dir)
    found = [find_run(folder, run) for run in runs or ("latest",)]
    if output is not None and len(found) > 1 and not matrix:
        raise UsageError("-o names one file, and there are several runs")
    try:
        if matrix:
            written = [write_matrix(found if len(found) > 1 else matrix_of(found[0]), output)]
        else:
            written = [write_report(run, output) for run in found]
    except OSError as error:
        raise UsageError(f"the report cannot be made: {error}") from None
    for path in written:
        click.echo(one_line(str(path)))
    return ExitCode.PASS
