"""From a run's directory to what reports are made of."""

from __future__ import annotations

from dataclasses import dataclass

from harness.record.journal import read_journal
from harness.record.rundir import RunDirectory
from harness.record.state import RunState
from harness.report.observed import Observed, observe
from harness.report.page import run_page
from harness.report.samples import SampleReading, read_latencies


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as far as its directory tells. `skipped`: lines of its journal that could not be read; `playbook`: the text
    of run.toml, "" where there is none."""

    directory: RunDirectory
    observed: Observed
    samples: SampleReading
    alive: bool
    skipped: int
    playbook: str


def read_run(directory: RunDirectory) -> RunRecord:
    """Of a run that is over, of one that goes on, and of one that was killed. Raises OSError."""
    journal = read_journal(directory.journal)
    observed = observe(journal) if directory.journal.exists() else Observed(RunState())
    samples = read_latencies(directory.samples, observed.state.began)
    toml = directory.run_toml
    playbook = toml.read_text(encoding="utf-8", errors="replace") if toml.exists() else ""
    return RunRecord(directory, observed, samples, directory.is_alive(), journal.skipped, playbook)


def page_of(record: RunRecord) -> str:
    """Its report, as HTML."""
    return run_page(
        record.observed,
        record.samples,
        directory=record.directory,
        playbook=record.playbook,
        alive=record.alive,
        skipped=record.skipped,
    )
