"""`harness search` as a user runs it, on networks of devnet whose blocks hold little."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PLAYBOOK = """
name = "small blocks"
chain = { use = "devnet", slot_duration = "50ms", active_slot_coeff = 0.9, security_param = 2, block_txs = 2 }
duration = "2s"
settle = "200ms"

[vars]
rate = "5/s"

[topology]
validators = 1

[wallets]
count = 40

[[workloads]]
use = "transactions"
rate = "{{ rate }}"
users = 40
senders = 1
"""
SLOW = "transaction-inclusion.p99 < 1s and inclusion > 99%"

Search = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "small.toml").write_text(PLAYBOOK)
    return tmp_path


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "harness", "search", *args]


@pytest.fixture
def search(folder: Path) -> Search:
    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command(*args), capture_output=True, text=True, cwd=folder, timeout=300)

    return run


def written(folder: Path) -> dict[str, Any]:
    (path,) = folder.glob("runs/search-*/search.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def wait_until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)


@pytest.mark.real
def test_the_limit_of_small_blocks_is_found(search: Search, folder: Path) -> None:
    """About 36 a second fit into blocks; at 320 a second, seconds of backlog are left behind. A generator that a busy
    machine holds up tells nothing: then it is looked for again."""
    for attempt in ("a", "b", "c"):
        done = search(
            "small.toml", "--vary", "rate", "--to", "320", "--until", SLOW, "--precision", "100%", "--repeats", "1",
            "--seed", "3", "--runs", f"{attempt}/runs",
        )  # fmt: skip
        found = written(folder / attempt)
        if found["result"]["ending"] != "generator" and found["probes"][0]["outcome"] != "generator":
            break
    assert done.returncode == 0, done.stderr
    assert "the limit is between" in done.stdout and "95 % interval" in done.stdout
    assert found["result"]["ending"] == "found"
    assert 5 <= found["result"]["passed"]["rate"] < found["result"]["failed"]["rate"] <= 320
    runs = [probe["run"] for probe in found["probes"]]
    listed = subprocess.run(
        [sys.executable, "-m", "harness", "runs", "list", "--json", "--matrix", found["id"], "--runs",
         folder / attempt / "runs"],
        capture_output=True, text=True, cwd=folder, timeout=60,
    )  # fmt: skip
    results = json.loads(listed.stdout)
    assert [one["run"]["id"] for one in results] == runs
    assert len({one["run"]["seed"] for one in results}) == len(runs)
    assert [one["run"]["variables"]["rate"] for one in results[:2]] == ["5/s", "10/s"]
    page = (folder / attempt / "runs" / found["id"] / "search.html").read_text()
    assert f"../{runs[0]}/report.html" in page and "<script" not in page


@pytest.mark.real
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_search_that_was_ended_in_the_middle_goes_on(search: Search, folder: Path, how: signal.Signals) -> None:
    bounds = ("--vary", "rate", "--until", "offered > 1/s", "--repeats", "9", "--max-probes", "3")
    began = subprocess.Popen(
        command("small.toml", *bounds), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )

    def in_second_probe() -> bool:
        assert began.poll() is None
        driving = [one for one in folder.glob("runs/2*/journal.jsonl") if '"drive"' in one.read_text()]
        return len(driving) == 2

    wait_until(in_second_probe)
    os.kill(began.pid, how)
    _, told = began.communicate(timeout=60)
    if how is signal.SIGINT:
        assert began.returncode == 130 and "harness search --resume runs/search-" in told
    before = written(folder)
    assert len(before["probes"]) == 1 and before["result"] is None
    done = search("--resume", f"runs/{before['id']}", "--json")
    assert done.returncode == 2, done.stderr
    after = json.loads(done.stdout)
    assert after == written(folder)
    assert after["probes"][0] == before["probes"][0] and after["settings"] == before["settings"]
    assert [probe["number"] for probe in after["probes"]] == [1, 2, 3]
    assert len({probe["run"] for probe in after["probes"]} - {run.name for run in folder.glob("runs/2*")}) == 0
    assert "not found within --max-probes 3" in after["result"]["sentence"]


@pytest.mark.real
def test_what_the_generator_cannot_send_is_not_the_networks_limit(search: Search, folder: Path) -> None:
    done = search(
        "small.toml", "--vary", "workloads.transactions.users", "--from", "1", "--to", "2", "--repeats", "1",
        "--until", "acceptance > 1%", "-e", "rate=2000/s",
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "the generator's limit, not the network's" in done.stdout
    (probe,) = written(folder)["probes"]
    assert probe["outcome"] == "generator" and "the generator" in probe["reason"]


@pytest.mark.real
def test_infrastructure_that_fails_is_tried_twice_and_ends_the_search(search: Search, folder: Path) -> None:
    done = search("small.toml", "--vary", "rate", "--until", SLOW, "-e", "ready_timeout=1ms")
    assert done.returncode == 3, done.stderr
    assert "--resume" in done.stderr
    found = written(folder)
    assert [probe["outcome"] for probe in found["probes"]] == ["broken", "broken"] and found["result"] is None


@pytest.mark.real
def test_a_figure_that_no_run_measures_is_told_after_the_first(search: Search) -> None:
    done = search("small.toml", "--vary", "rate", "--until", "transaction-inclusion.p98 < 5")
    assert done.returncode == 4
    assert 'nothing measures "transaction-inclusion.p98"; did you mean "transaction-inclusion.p9' in done.stderr


@pytest.mark.real
def test_a_report_that_cannot_be_made_costs_no_probe(folder: Path) -> None:
    broken = (
        "import sys, harness.cli.searching as s\n"
        "def fail(run): raise ZeroDivisionError('no report')\n"
        "s.write_report = fail\n"
        "from harness.cli.main import cli\n"
        "sys.exit(cli(sys.argv[1:]))\n"
    )
    args = ("search", "small.toml", "--vary", "rate", "--until", "offered > 1/s", "--max-probes", "1")
    done = subprocess.run(
        [sys.executable, "-c", broken, *args], capture_output=True, text=True, cwd=folder, timeout=120
    )
    assert done.returncode == 2, done.stderr
    assert "its report was not written: ZeroDivisionError: no report" in done.stderr
    assert len(written(folder)["probes"]) == 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "PLAYBOOK is missing"),
        (("small.toml", "--vary", "rate"), "--until is missing"),
        (("small.toml", "--vary", "rat", "--until", SLOW), 'did you mean "rate"?'),
        (("small.toml", "--vary", "rate", "--until", "p99 <"), "column 6: a value is expected"),
        (("small.toml", "--vary", "rate", "--until", "transactions-inclusion.p99 < 5s"), "did you mean"),
        (("small.toml", "--vary", "rate", "--until", SLOW, "--precision", "5"), "like 5% or 0.05"),
        (("small.toml", "--vary", "rate", "--until", SLOW, "--max-time", "5"), '--max-time: "5" is not a duration'),
        (("small.toml", "--vary", "rate", "--until", SLOW, "-e", "rate=5"), "use --from and --to"),
        (("small.toml", "--vary", "workloads.transactions.usres", "--from", "1", "--until", SLOW), "unknown key"),
        (("--resume", "runs/none"), "no search to resume"),
        (("--resume", "runs/none", "--vary", "rate"), "leave --vary out"),
    ],
)  # fmt: skip
def test_mistakes_are_told_before_anything_is_started(
    search: Search, folder: Path, args: tuple[str, ...], message: str
) -> None:
    done = search(*args)
    assert done.returncode == 4, done.stderr
    assert message in done.stderr
    assert not (folder / "runs").exists()


def test_another_playbook_is_another_search(search: Search, folder: Path) -> None:
    (folder / "runs/search-x").mkdir(parents=True)
    settings = {
        "playbook": str(folder / "small.toml"), "sha256": "0", "vary": "rate", "until": SLOW, "unit": "/s", "seed": 1,
        "inventory": "", "extra": [], "limit": "", "deployer": "", "forks": None,
        "bounds": {"start": 1.0, "stop": 9.0, "precision": 0.1, "repeats": 1, "ratio": 2.0, "max_probes": 9,
                   "max_seconds": None},
    }  # fmt: skip
    content = {"format": 1, "id": "search-x", "settings": settings, "probes": [], "result": None}
    (folder / "runs/search-x/search.json").write_text(json.dumps(content))
    done = search("--resume", "runs/search-x")
    assert done.returncode == 4 and "has changed since this search began" in done.stderr
