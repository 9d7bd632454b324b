"""Writing reports of runs, for the commands that do."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from harness.errors import UsageError
from harness.record.glance import glance
from harness.record.rundir import RunDirectory, list_runs, write_atomically
from harness.report.compare import Side
from harness.report.matrix import MatrixRun, MatrixSummary, matrix_id, summarize_matrix
from harness.report.page import matrix_page
from harness.report.reading import RunRecord, page_of, read_run
from harness.report.samples import read_samples


def write_report(directory: RunDirectory, to: Path | None = None) -> Path:
    """Write a run's report, into its directory where no other place is named. Raises OSError, and UsageError for a run
    that wrote nothing."""
    if not directory.journal.exists():
        raise UsageError(f"{directory.run_id} has no journal: there is nothing to report")
    path = to or directory.report
    write_atomically(path, page_of(read_run(directory)))
    return path


def matrix_of(directory: RunDirectory) -> list[RunDirectory]:
    """All runs of the matrix that this one is of. Raises UsageError for a run of its own."""
    id = glance(directory).matrix
    if not id:
        raise UsageError(f"{directory.run_id} is no run of a matrix; name all the runs that its summary should have")
    return [run for run in list_runs(directory.path.parent) if run == directory or glance(run).matrix == id]


def write_matrix(runs: Sequence[RunDirectory], to: Path | None = None) -> Path:
    """Write the summary of these runs, beside them where no other place is named. Raises OSError."""
    folder = runs[0].path.parent
    records = [read_run(run) for run in runs]
    id = matrix_id(records[0].observed.state) or f"of-{runs[0].run_id}"
    safe = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-_.") else "-" for letter in id)
    path = to or folder / f"matrix-{safe[:100]}.html"
    beside = path.absolute().parent == folder.absolute()
    summary = summarize_matrix([_of_matrix(record, beside=beside) for record in records])
    write_atomically(path, matrix_page(summary))
    return path


def summary_of(runs: Sequence[RunDirectory]) -> MatrixSummary:
    return summarize_matrix([_of_matrix(read_run(run), beside=False) for run in runs])


def _of_matrix(record: RunRecord, *, beside: bool) -> MatrixRun:
    run = record.directory
    link = f"{run.run_id}/{run.report.name}" if beside and run.report.exists() else ""
    return MatrixRun(record.observed, record.samples, run.run_id, record.alive, link)


def side_of(directory: RunDirectory) -> Side:
    """A run, to be compared. Raises UsageError for one that wrote nothing, and OSError."""
    if not directory.journal.exists():
        raise UsageError(f"{directory.run_id} has no journal: there is nothing to compare")
    record = read_run(directory)
    try:
        latencies = read_samples(directory.samples, record.observed.state.began)
    except sqlite3.Error as error:
        raise UsageError(f"{directory.samples}: {error}") from None
    return Side(record.observed, latencies, record.playbook, directory.run_id, record.alive)
