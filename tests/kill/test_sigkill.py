"""SIGKILL of the controller at twenty moments: nothing of the run is left but its readable record."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.kill.moments import MOMENTS, PLAYBOOK, matches

pytestmark = [pytest.mark.real, pytest.mark.skipif(not Path("/proc").exists(), reason="looks at /proc")]

GONE_WITHIN = 2.0


def belonging_to(folder: Path) -> list[str]:
    """Processes that run in this folder or name it in their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                cwd = str((entry / "cwd").readlink())
            except OSError:
                continue
            if state not in "ZX" and (str(folder) in command or cwd.startswith(str(folder))):
                found.append(f"{entry.name} {command}")
    return found


def ports_of(run: Path) -> list[int]:
    return [port for config in run.glob("nodes/*/node.json") for port in find_ports(json.loads(config.read_text()))]


def find_ports(value: Any) -> list[int]:
    if isinstance(value, dict):
        own = [v for k, v in value.items() if "port" in k and isinstance(v, int)]
        return own + [port for inner in value.values() for port in find_ports(inner)]
    return [port for inner in value for port in find_ports(inner)] if isinstance(value, list) else []


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda m: "-".join(map(str, m)))
def test_nothing_is_left_but_a_readable_record(tmp_path: Path, moment: tuple[str, str, int]) -> None:
    kind, word, skip = moment
    work, temp = tmp_path / "work", tmp_path / "temp"
    work.mkdir()
    temp.mkdir()
    (work / "doomed.toml").write_text(PLAYBOOK)
    environment = {**os.environ, "TMPDIR": str(temp), "HOME": str(temp), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "harness", "run", "doomed.toml", "--output", "json", "--seed", "5"]
    with subprocess.Popen(command, cwd=work, env=environment, stdout=subprocess.PIPE, text=True) as controller:
        assert controller.stdout is not None
        for line in controller.stdout:
            if matches(json.loads(line), kind, word):
                if skip == 0:
                    break
                skip -= 1
        else:
            pytest.fail(f"{moment} never came")
        controller.send_signal(signal.SIGKILL)
    killed_at = time.monotonic()
    while (left := belonging_to(tmp_path)) and time.monotonic() - killed_at < GONE_WITHIN:
        time.sleep(0.02)
    assert not left, f"still there {GONE_WITHIN} s after the controller's death"

    assert sorted(path.name for path in work.iterdir()) == ["doomed.toml", "runs"]
    assert list(temp.iterdir()) == []
    [run] = (work / "runs").iterdir()
    for port in ports_of(run):
        for kind_of_socket in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_INET, kind_of_socket) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # TIME_WAIT is nobody's port
                probe.bind(("127.0.0.1", port))

    def harness(*args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "harness", *args]
        return subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=True)

    shown = harness("runs", "show").stdout
    assert run.name in shown
    assert "Traceback" not in shown
    assert json.loads(harness("runs", "show", "--json").stdout)["status"] == "dead"
    assert "killed" not in harness("clean").stdout  # it may tidy up within runs/, but finds no process
    assert harness("clean").stdout == "nothing was left behind\n"
