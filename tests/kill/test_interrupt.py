"""Ctrl-C on the real program: torn down, result written, exit code 130; twice: the same, without patience."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

PLAYBOOK = """
name = "interrupted"
chain = { use = "devnet", slot_duration = "100ms" }
duration = "60s"
[topology]
validators = 2
[[expectations]]
use = "no-forks"
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("phase", ["ready", "drive"])
def test_once_is_enough(tmp_path: Path, number: signal.Signals, phase: str) -> None:
    (tmp_path / "book.toml").write_text(PLAYBOOK)
    command = [sys.executable, "-m", "harness", "run", "book.toml", "--output", "json"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as controller:
        assert controller.stdout is not None and controller.stderr is not None
        for line in controller.stdout:
            event = json.loads(line)
            if event["kind"] == "phase-started" and event["phase"] == phase:
                os.killpg(controller.pid, number)  # as a terminal does: to the whole foreground group
                break
        rest = [json.loads(line) for line in controller.stdout]
        errors = controller.stderr.read()
    assert controller.returncode == 130, errors
    assert errors == ""
    assert (rest[-1]["kind"], rest[-1]["status"]) == ("run-finished", "interrupted")
    stopped = {e["node"]: e["why"] for e in rest if e["kind"] == "node-changed" and e["state"] == "stopped"}
    assert stopped.keys() == {"validator-0", "validator-1"}
    if phase == "drive":  # one that is still starting has not taken its signals in hand yet
        assert set(stopped.values()) == {"exit status 0"}
    [run] = (tmp_path / "runs").iterdir()
    assert json.loads((run / "result.json").read_text())["exit_code"] == 130
    assert (run / "junit.xml").exists()
