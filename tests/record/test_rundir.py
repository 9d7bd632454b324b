"""Run directories: names, races, finding them again, and whether their controllers live."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.record.owner import Owner
from harness.record.rundir import (
    RunDirectory,
    find_run,
    list_runs,
    slug,
    write_atomically,
)
from harness.spec.file_names import file_name, name_of

NOON = 1_769_860_800.0


def make(root: Path, name: str, now: float = NOON) -> RunDirectory:
    return RunDirectory.create(root, name, now)


def test_a_run_is_named_for_its_time_and_playbook(tmp_path: Path) -> None:
    run = make(tmp_path / "new" / "runs", "Aggressive Chaos!")
    assert re.fullmatch(r"2026-01-31T12-00-00-aggressive-chaos-[0-9a-f]{4}", run.run_id)
    assert run.logs.is_dir() and run.nodes.is_dir() and run.path.is_absolute()


@given(st.text())
def test_any_playbook_name_makes_a_safe_slug(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug(name)) and len(slug(name)) <= 48


@given(st.text(min_size=1, max_size=20))
def test_any_name_makes_a_safe_file_name_and_comes_back(name: str) -> None:
    file = file_name(name)
    assert re.fullmatch(r"[A-Za-z0-9_~%-][A-Za-z0-9_.~%-]*", file)
    assert name_of(file) == name


@pytest.mark.parametrize("name", ["..", ".", "../../etc/passwd", ".hidden", "a/b", "\ud800"])
def test_node_files_stay_where_they_belong(tmp_path: Path, name: str) -> None:
    run = make(tmp_path, "x")
    path = run.log(name)
    assert Path(os.path.normpath(path)).parent == run.logs and not path.name.startswith(".")


@pytest.mark.parametrize("name", ["", "x" * 300, "é" * 100])
def test_names_that_no_file_can_have_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a name here"):
        file_name(name)


def test_many_runs_may_start_in_the_same_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draws = iter(["aaaa"] * 40 + [f"{i:04x}" for i in range(1000)])
    monkeypatch.setattr("harness.record.rundir.secrets.token_hex", lambda n: next(draws))
    with ThreadPoolExecutor(16) as pool:
        runs = list(pool.map(lambda i: make(tmp_path, "same"), range(40)))
    assert len({run.run_id for run in runs}) == 40 == len(list_runs(tmp_path))
    assert all(run.is_alive() for run in runs)


def test_runs_are_listed_by_age_and_nothing_else_is(tmp_path: Path) -> None:
    late, early = make(tmp_path, "a", NOON + 60), make(tmp_path, "b", NOON)
    (tmp_path / "notes").mkdir()
    (tmp_path / "2026-01-31T12-00-00-a-file-0000").write_text("")
    same_second = make(tmp_path, "a", NOON + 60)
    os.utime(same_second.controller, ns=(0, late.controller.stat().st_mtime_ns + 10**9))
    assert list_runs(tmp_path) == [early, late, same_second]
    assert list_runs(tmp_path / "nowhere") == []


def test_a_run_is_found_by_what_one_remembers_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = make(tmp_path, "quickstart"), make(tmp_path, "chaos", NOON + 1)
    for text in ("quick", first.run_id, first.run_id[-4:], "2026-01-31T12-00-00", str(first.path), f"{first.path}/"):
        assert find_run(tmp_path, text) == first
    assert find_run(tmp_path, "latest") == second
    monkeypatch.chdir(tmp_path)
    assert find_run(tmp_path / "elsewhere", f"./{second.run_id}") == second


def test_what_is_not_one_run_is_told_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there are no runs"):
        find_run(tmp_path, "latest")
    runs = [make(tmp_path, "chaos", NOON + i) for i in range(15)]
    with pytest.raises(UsageError, match="could be 15 runs") as ambiguous:
        find_run(tmp_path, "chaos")
    assert runs[-1].run_id in str(ambiguous.value) and "3 older" in str(ambiguous.value)
    with pytest.raises(UsageError, match="no run") as unknown:
        find_run(tmp_path, "peace")
    assert runs[-1].run_id in str(unknown.value)


def set_owner(run: RunDirectory, **changes: object) -> None:
    owner = dataclasses.replace(Owner.current(), **changes)  # type: ignore[arg-type]
    write_atomically(run.controller, json.dumps(dataclasses.asdict(owner)))


def test_a_run_lives_as_long_as_its_own_controller(tmp_path: Path) -> None:
    run = make(tmp_path, "x")
    assert run.is_alive()
    set_owner(run, start="1")  # this pid, but a process that was started at another time
    assert not run.is_alive()
    set_owner(run, boot="another boot")
    assert not run.is_alive()
    for text in ("", "{", "[]", '{"pid": "x"}', '{"pid": null, "start": "", "boot": "", "host": ""}'):
        run.controller.write_text(text)
        assert not run.is_alive()
    run.controller.unlink()
    assert not run.is_alive()


def test_a_killed_controller_is_dead_at_once_also_as_a_zombie(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from harness.record.rundir import RunDirectory\n"
        "print(RunDirectory.create(Path(sys.argv[1]), 'x', 0.0).path, flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        run = RunDirectory(Path(process.stdout.readline().strip()))
        assert run.is_alive()
        process.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has collected it
        assert not run.is_alive()
    assert not run.is_alive()


def test_a_run_of_another_host_counts_as_alive_until_it_has_a_result(tmp_path: Path) -> None:
    run = make(tmp_path, "x")
    set_owner(run, host="another-host", pid=1)
    assert run.is_alive()
    run.result.write_text("{}")
    assert not run.is_alive()


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "new \ud800")
    assert path.read_text() == "old"
