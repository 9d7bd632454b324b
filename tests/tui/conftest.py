"""Recorded runs, and the app on them."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.record.rundir import RunDirectory

JOURNALS = Path(__file__).parent / "journals"
Recording = Callable[[str], RunDirectory]


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    """The directory of a run that was recorded, without its nodes' logs."""

    def make(name: str) -> RunDirectory:
        directory = RunDirectory(tmp_path / f"2026-01-31T12-00-00-{name}-7f3a")
        directory.logs.mkdir(parents=True)
        directory.journal.write_bytes(gzip.decompress((JOURNALS / f"{name}.jsonl.gz").read_bytes()))
        return directory

    return make
