"""`harness prepare`, and what `harness run --check` shows of tasks, as a user runs them."""

from __future__ import annotations

import contextlib
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

pytestmark = pytest.mark.real
Cli = Callable[..., subprocess.CompletedProcess[str]]

PLAYBOOK = """
chain = "devnet"
duration = "1s"
[vars]
color = "red"
[topology]
validators = 2
[[prepare]]
use = "copy"
name = "settings [bold]here[/bold]"
content = "color {{ color }}\\n"
dest = "DEST/settings"
mode = "0600"
[[prepare]]
use = "run"
hosts = "second"
argv = ["FALSE"]
[[prepare]]
use = "wait-for"
path = "DEST/settings"
timeout = "1s"
[[expectations]]
use = "consensus-liveness"
"""
INVENTORY = """
[all.vars]
ansible_connection = "local"
[validators.hosts.one]
[validators.hosts.two]
[second.hosts.two]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "cwd"
    folder.mkdir()
    (folder / "inventory.toml").write_text(INVENTORY)
    return folder


@pytest.fixture
def playbook(folder: Path) -> Callable[[str], Path]:
    def write(command: str = "true") -> Path:
        path = folder / "p.toml"
        path.write_text(PLAYBOOK.replace("DEST", str(folder / "dest")).replace("FALSE", command))
        return Path(path.name)

    return write


@pytest.fixture
def cli(folder: Path) -> Cli:
    def run(*args: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "harness", *args]
        return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=120)

    return run


def recap(output: str) -> dict[str, list[int]]:
    lines = output[output.index("RECAP") :].splitlines()[3:]
    return {line.split()[0]: [int(word) for word in line.split()[1:]] for line in lines}


def test_tasks_are_done_once_and_by_themselves(cli: Cli, playbook: Any, folder: Path) -> None:
    first = cli("prepare", playbook(), "-i", "inventory.toml")
    assert first.returncode == 0, first.stderr
    assert "settings [bold]here[/bold]  (copy, p.toml:8:3)" in first.stdout
    one, two = recap(first.stdout).values()
    assert (one[0], two[0], one[2], two[2]) == (2, 3, 0, 0)
    assert two[1] >= 1 and one[1] + two[1] >= 2  # both are this machine: one may have come first
    assert (folder / "dest" / "settings").read_text() == "color red\n"
    second = cli("prepare", playbook(), "-i", "inventory.toml")
    assert recap(second.stdout) == {"one": [2, 0, 0], "two": [3, 1, 0]}  # the command runs each time
    assert not (folder / "runs").exists()


def test_check_shows_differences_and_touches_nothing(cli: Cli, playbook: Any, folder: Path) -> None:
    for args in (("prepare", "--check"), ("run", "--check")):
        done = cli(*args, playbook(), "-i", "inventory.toml", "-e", "color=\x1b[31mred")
        assert done.returncode == 0, done.stderr
        assert "+color \\x1b[31mred" in done.stdout  # what is shown is harmless
        assert "two  would change" in done.stdout
        assert not (folder / "dest").exists()
    assert not (folder / "runs").exists()


def test_a_failure_is_told_with_host_and_place(cli: Cli, playbook: Any) -> None:
    done = cli("prepare", playbook("false"), "-i", "inventory.toml")
    assert done.returncode == 3
    assert "run  (run, p.toml:14:3)" in done.stdout
    assert "two  FAILED   exit status 1" in done.stdout
    assert recap(done.stdout)["two"][2] == 1
    ran = cli("run", playbook("false"), "-i", "inventory.toml")
    assert ran.returncode == 3
    assert "two: run (p.toml:14:3): exit status 1" in ran.stdout


def test_a_limit_chooses_hosts(cli: Cli, playbook: Any) -> None:
    done = cli("prepare", playbook(), "-i", "inventory.toml", "--limit", "one")
    assert list(recap(done.stdout)) == ["one"]
    none = cli("prepare", playbook(), "-i", "inventory.toml", "--limit", "one:!one")
    assert none.returncode == 4
    assert "within --limit" in none.stderr


def test_a_playbook_without_tasks_has_nothing_to_do(cli: Cli, folder: Path) -> None:
    text = PLAYBOOK[: PLAYBOOK.index("[[prepare]]")] + PLAYBOOK[PLAYBOOK.index("[[expectations]]") :]
    (folder / "q.toml").write_text(text)
    done = cli("prepare", "q.toml", "-i", "inventory.toml")
    assert (done.returncode, done.stdout) == (0, "q.toml has no [[prepare]]: there is nothing to do\n")


def test_a_matrix_does_the_same_tasks_once(cli: Cli, playbook: Any, folder: Path) -> None:
    text = (folder / playbook()).read_text()
    for axis, times in (('word = ["a", "b"]', 1), ('color = ["red", "blue"]', 2)):
        (folder / "m.toml").write_text(f'description = "{{{{ {axis.split()[0]} }}}}"\n{text}\n[matrix]\n{axis}\n')
        done = cli("prepare", "m.toml", "-i", "inventory.toml")
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("RECAP") == times


def test_a_run_does_them_before_its_nodes(cli: Cli, playbook: Any, folder: Path) -> None:
    done = cli("run", playbook(), "-i", "inventory.toml", "-q")
    assert done.returncode in (0, 2), done.stderr  # so short a drive promises no blocks
    [result] = [json.loads(file.read_text()) for file in (folder / "runs").glob("*/result.json")]
    assert result["prepare"]["tasks"] == ["settings [bold]here[/bold]", "run", "wait-for"]
    assert result["prepare"]["hosts"]["two"]["ok"] == 3
    assert (folder / "dest" / "settings").read_text() == "color red\n"


def test_the_schema_has_tasks(cli: Cli) -> None:
    schema = json.loads(cli("schema").stdout)
    tasks = json.dumps(schema["properties"]["prepare"])
    for name in ("copy", "run", "service", "package", "template", "wait-for"):
        assert f'"#/$defs/task.{name}"' in tasks
    copy = schema["$defs"]["task.copy"]["properties"]
    assert {"use", "name", "hosts", "become", "src", "dest"} <= copy.keys()


def test_tasks_are_plugins_like_others(cli: Cli) -> None:
    listed = cli("plugins", "list", "--kind", "task").stdout
    assert "wait-for" in listed
    assert "content" in cli("plugins", "doc", "copy").stdout
    assert "prepare" in cli("--help").stdout
    assert "--check" in cli("prepare", "--help").stdout


def sleeping(seconds: str) -> bool:
    """Whether a process sleeps for just so long."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if file.read_bytes().split(b"\0")[:2] == [b"sleep", seconds.encode()]:
                return True
    return False


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("command", ["prepare", "run"])
def test_ctrl_c_ends_what_a_task_has_started(folder: Path, playbook: Any, command: str) -> None:
    seconds = f"9{os.getpid()}.{time.time_ns() % 10**9}"
    path = folder / playbook()
    path.write_text(path.read_text().replace('["true"]', f'["sleep", "{seconds}"]'))
    words = [sys.executable, "-m", "harness", command, "p.toml", "-i", "inventory.toml"]
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        give_up = time.monotonic() + 60
        while not sleeping(seconds):
            assert process.poll() is None and time.monotonic() < give_up
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert not sleeping(seconds)
