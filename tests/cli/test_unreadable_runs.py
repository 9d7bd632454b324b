"""A run's folder that may not be read, as another user's: it is told as such, and hides no other run."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.record.glance import glance
from harness.record.rundir import RunDirectory, find_run

JOURNAL = Path(__file__).parents[1] / "tui/journals/healthy.jsonl.gz"
GOOD = "2026-01-31T12-00-00-good-7f3a"
SHUT = "2026-01-31T12-00-00-shut-7f3b"  # of the same second: both are looked into for their order


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A link that goes round, where permissions would not keep root out."""
    good, shut = (RunDirectory(tmp_path / "runs" / name) for name in (GOOD, SHUT))
    for run in (good, shut):
        run.logs.mkdir(parents=True)
    good.journal.write_bytes(gzip.decompress(JOURNAL.read_bytes()))
    for path in (shut.journal, shut.controller):
        path.symlink_to(path.name)
    return tmp_path / "runs"


def harness(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", *words]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)


def test_it_is_listed_among_the_others(runs: Path) -> None:
    done = harness("runs", "list", "--runs", str(runs))
    assert done.returncode == 0 and done.stderr == ""
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["done", "unreadable"]
    told = json.loads(harness("runs", "list", "--json", "--runs", str(runs)).stdout)
    assert told[1] == {"id": SHUT, "status": "unreadable"} and told[0]["verdict"] == "pass"


def test_a_pipe_is_not_waited_for(runs: Path) -> None:
    for name in ("journal.jsonl", "controller.json"):
        (runs / SHUT / name).unlink()
        os.mkfifo(runs / SHUT / name)
    done = harness("runs", "list", "--runs", str(runs))
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["done", "unreadable"]
    assert "no regular file" in harness("runs", "show", "shut", "--runs", str(runs)).stderr
    assert f"{SHUT}: cannot be looked into" in harness("clean", "--runs", str(runs)).stderr


def test_others_are_found_and_shown(runs: Path) -> None:
    assert find_run(runs, "good").run_id == GOOD
    assert harness("runs", "show", "good", "--runs", str(runs)).returncode == 0


@pytest.mark.parametrize(
    "words",
    [
        ("runs", "show"),
        ("runs", "show", "--json"),
        ("runs", "show", "--faults"),
        ("runs", "show", "--nodes"),
        ("runs", "export"),
        ("report",),
        ("logs",),
        ("watch",),
        ("replay",),
    ],
)
def test_one_line_says_what_is_the_matter(runs: Path, words: tuple[str, ...]) -> None:
    shutil.rmtree(runs / SHUT)
    (runs / SHUT / "journal.jsonl").mkdir(parents=True)
    done = harness(*words, "--runs", str(runs), "shut")
    assert done.returncode == 4
    assert done.stderr.startswith("harness: ") and len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_it_is_not_taken_for_dead(runs: Path) -> None:
    run = RunDirectory(runs / SHUT)
    assert glance(run).status == "unreadable" and run.is_alive()
    done = harness("clean", "--runs", str(runs))
    assert done.returncode == 5 and f"{SHUT}: cannot be looked into" in done.stderr


def test_a_journal_of_garbage_is_not_told_to_be_empty(runs: Path) -> None:
    (runs / GOOD / "journal.jsonl").write_bytes(b"\x00\xff\n" * 9)
    told = harness("runs", "show", "good", "--runs", str(runs)).stdout
    assert "DEAD  its controller is gone and nothing of its journal can be read" in told
    assert "9 lines of the journal could not be read" in told
