"""Recorded runs, and the app on them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from harness.record.owner import Owner
from harness.record.rundir import RunDirectory
from harness.tui.app import RunApp
from tests.tui.looking import Asked

JOURNALS = Path(__file__).parent / "journals"
Recording = Callable[[str], RunDirectory]


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    """The directory of a run that was recorded, with those of its nodes' logs that were."""

    def make(name: str) -> RunDirectory:
        directory = RunDirectory(tmp_path / f"2026-01-31T12-00-00-{name}-7f3a")
        directory.logs.mkdir(parents=True)
        directory.journal.write_bytes(gzip.decompress((JOURNALS / f"{name}.jsonl.gz").read_bytes()))
        for log in (JOURNALS / name).glob("*.log"):
            directory.log(log.stem).write_bytes(log.read_bytes())
        return directory

    return make


@pytest.fixture
def live(recording: Recording) -> tuple[RunApp, Asked]:
    """A run that goes on, as far as can be told: this process controls it."""
    directory = recording("healthy")
    directory.controller.write_text(json.dumps(asdict(Owner.current())))
    lines = directory.journal.read_bytes().splitlines(keepends=True)
    directory.journal.write_bytes(b"".join(lines[:120]))
    app, asked = RunApp(directory), Asked()
    app.client = asked  # type: ignore[assignment]
    return app, asked
