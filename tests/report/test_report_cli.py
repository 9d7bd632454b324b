"""`harness report`, `harness runs compare`, `harness runs list`, as they are typed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.cli.main import cli
from harness.cli.run_filters import parse_moment
from harness.errors import ExitCode, UsageError
from harness.record.events import RunStarted
from harness.record.glance import glance
from harness.record.rundir import list_runs

ROOT = Path(__file__).parents[2]
Typed = Callable[..., tuple[int, str]]


@pytest.fixture
def runs(write_run: Any, events: Any) -> Path:
    """Three runs: two of a matrix, and one that was cut off."""
    for n in (1, 2):
        made = events(rate=10 * n, matrix={"id": "load-1", "number": n, "of": 2, "varies": ["rate"]})
        made = [(t, replace(e, variables={"rate": 10 * n}) if isinstance(e, RunStarted) else e) for t, e in made]
        write_run(f"load-000{n}", made, rate=10)
    folder: Path = write_run("cut-7f3a", events()[:80]).path.parent
    return folder


@pytest.fixture
def typed(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Run `harness WORDS…` and give its exit code and what it wrote to stdout."""

    def run(*words: str | Path) -> tuple[int, str]:
        for stream in ("stdout", "stderr"):  # the command line puts its own in their places
            monkeypatch.setattr(sys, stream, getattr(sys, stream))
        code = cli([str(word) for word in words])
        sys.stdout.flush()
        return code, capfd.readouterr().out

    return run


def test_a_report_is_written_and_its_path_is_told(runs: Path, typed: Typed) -> None:
    code, out = typed("report", "load-0001", "cut", "--runs", runs)
    paths = [Path(line) for line in out.splitlines()]
    assert code == ExitCode.PASS
    assert [path.name for path in paths] == ["report.html", "report.html"]
    assert "DEAD" in paths[1].read_text(encoding="utf-8")


def test_a_matrix_has_one_report(runs: Path, tmp_path: Path, typed: Typed) -> None:
    code, out = typed("report", "load-0002", "--matrix", "--runs", runs)
    assert (code, Path(out.strip()).name) == (ExitCode.PASS, "matrix-load-1.html")
    there = tmp_path / "m.html"
    assert typed("report", "load-0001", "cut", "--matrix", "-o", there, "--runs", runs) == (ExitCode.PASS, f"{there}\n")
    for mistake in (["cut", "--matrix"], ["load-0001", "cut", "-o", there], ["cut", "-o", tmp_path / "no" / "x.html"]):
        assert typed("report", *mistake, "--runs", runs) == (ExitCode.USAGE, "")


def test_runs_are_compared_in_the_terminal_as_json_and_as_a_page(runs: Path, tmp_path: Path, typed: Typed) -> None:
    page = tmp_path / "compared.html"
    words = ["runs", "compare", "load-0001", "load-0002", "--runs", runs]
    code, shown = typed(*words, "--html", page)
    assert code == ExitCode.PASS
    assert "included by transactions: higher in B by" in shown and "Mann–Whitney" in shown
    assert "Two runs compared" in page.read_text(encoding="utf-8")
    told = json.loads(typed(*words, "--json")[1])
    flow = next(metric for metric in told["metrics"] if metric["name"] == "included by transactions")
    assert flow["says"] == "differs" and 0.8 < flow["change"] < 1.2 and flow["p"] < 0.01


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], ["load-0001", "load-0002", "cut-7f3a"]),
        (["--verdict", "fail"], ["load-0001", "load-0002"]),
        (["--verdict", "none"], ["cut-7f3a"]),
        (["--verdict", "pass", "--verdict", "none"], ["cut-7f3a"]),
        (["--status", "dead"], ["cut-7f3a"]),
        (["--status", "done", "-n", "1"], ["load-0002"]),
        (["--playbook", "cha*"], ["load-0001", "load-0002", "cut-7f3a"]),
        (["--playbook", "haos.t"], ["load-0001", "load-0002", "cut-7f3a"]),
        (["--playbook", "hao?"], []),
        (["--matrix", "load-1"], ["load-0001", "load-0002"]),
        (["--chain", "devnet", "--deployer", "process"], ["load-0001", "load-0002", "cut-7f3a"]),
        (["--chain", "other"], []),
        (["-e", "rate=10"], ["load-0001", "cut-7f3a"]),
        (["-e", "rate=11"], []),
        (["-e", "speed=10"], []),
        (["--since", "2026-01-31T12:00"], ["load-0001", "load-0002", "cut-7f3a"]),
        (["--since", "2026-01-31T12:01"], []),
        (["--until", "2026-01-31"], []),
        (["--until", "2026-02-01"], ["load-0001", "load-0002", "cut-7f3a"]),
    ],
)
def test_runs_are_listed_by_filters(runs: Path, typed: Typed, words: list[str], found: list[str]) -> None:
    code, out = typed("runs", "list", "--runs", runs, *words)
    listed = [line.split()[0].removeprefix("2026-01-31T12-00-00-") for line in out.splitlines()]
    assert (code, sorted(listed)) == (ExitCode.PASS, sorted(found))


def test_the_last_few_of_many_are_listed_without_a_look_at_the_others(
    runs: Path, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    monkeypatch.setattr("harness.cli.runs.glance", lambda run: looked.append(run.run_id) or glance(run))
    code, out = typed("runs", "list", "--runs", runs, "-n", "2")
    listed = [line.split()[0] for line in out.splitlines()]
    assert code == ExitCode.PASS and listed == [run.run_id for run in list_runs(runs)[-2:]] == looked[::-1]


def test_runs_of_a_matrix_are_told_apart(runs: Path, typed: Typed) -> None:
    listed = typed("runs", "list", "--runs", runs, "--matrix", "load-1")[1].splitlines()
    assert sorted(line.split()[-1] for line in listed) == ["rate=10", "rate=20"]


def test_filters_that_are_none_are_refused(runs: Path, typed: Typed) -> None:
    for wrong in (["--since", "yesterday"], ["-e", "rate"], ["--status", "banana"]):
        assert typed("runs", "list", "--runs", runs, *wrong) == (ExitCode.USAGE, "")


def test_moments_are_ago_or_dates() -> None:
    assert parse_moment("2h", now=10_000) == 2_800
    assert parse_moment("1.5d", now=200_000) == 70_400
    assert parse_moment("1970-01-01T00:01") == 60
    assert parse_moment("1970-01-01T01:01+01:00") == 60
    with pytest.raises(UsageError):
        parse_moment("soon")


def test_a_list_reads_no_journal_to_its_end(runs: Path, typed: Typed) -> None:
    """Its first lines and its last are enough: in between there may be gigabytes."""
    journal = runs / "2026-01-31T12-00-00-load-0001" / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    with journal.open("wb") as file:
        file.write(b"".join(lines[:60]))
        file.seek(1 << 40, 1)  # a hole that no memory holds
        file.write(b"\n" + b"".join(lines[-3:]))
    assert "2026-01-31T12-00-00-load-0001" in typed("runs", "list", "--runs", runs, "--verdict", "fail")[1]


@pytest.mark.real
def test_a_run_leaves_its_report_and_a_matrix_one_for_all(tmp_path: Path) -> None:
    playbook = tmp_path / "p.toml"
    playbook.write_text(
        'name = "small"\nchain = "devnet"\nduration = "3s"\nsettle = "1s"\n'
        "[matrix]\nrate = [2, 4]\n[topology]\nvalidators = 2\n[wallets]\ncount = 4\n"
        '[[workloads]]\nuse = "transactions"\nrate = "{{ rate }}/s"\nusers = 2\n[[expectations]]\nuse = "no-forks"\n'
    )
    command = [sys.executable, "-m", "harness", "run", str(playbook), "--runs", str(tmp_path / "runs")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=180)
    assert "report of all runs" in done.stdout, done.stderr
    found = sorted((tmp_path / "runs").glob("2*/report.html"))
    assert len(found) == 2 and all(f"{path.parent.name}/report.html" in done.stdout for path in found)
    assert "Throughput of transactions" in found[0].read_text(encoding="utf-8")
    [summary] = (tmp_path / "runs").glob("matrix-small-*.html")
    assert all(f'href="{path.parent.name}/report.html"' in summary.read_text(encoding="utf-8") for path in found)
    assert time.time() - summary.stat().st_mtime < 180


def test_the_id_over_a_runs_faults_can_be_copied(typed: Typed, runs: Path) -> None:
    run_id = next(run.run_id for run in list_runs(runs) if "cut-7f3a" in run.run_id)
    code, out = typed("runs", "show", "--faults", run_id, "--runs", runs)
    assert code == 0 and f"of {run_id}" in out and out.startswith(("FAULTS\n", "NO FAULTS\n"))
