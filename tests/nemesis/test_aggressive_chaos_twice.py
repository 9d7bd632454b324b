"""Two runs of a playbook with one seed: the same faults, on the same nodes, at the same moments of the drive."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.real

PLAYBOOKS = Path(__file__).parents[2] / "playbooks"
SHORTER = {'"180s"': '"16s"', '"10s"': '"2s"', '"20s"': '"4s"', '"15s"': '"3s"'}
"""Its duration, delays and cooldown, all to a fifth, but for the duration: four turns or more are enough."""
LATE = 4.0
"""Seconds after its moment by which a fault is injected at the latest, on a busy machine."""


def harness(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness", *words], cwd=cwd, capture_output=True, text=True, timeout=180, check=False
    )


def faults_of(folder: Path) -> list[dict[str, Any]]:
    done = harness("run", "chaos.toml", cwd=folder)
    assert done.returncode in (0, 1, 2), done.stdout + done.stderr  # what comes of it is another question
    shown = harness("runs", "show", "latest", "--faults", "--json", cwd=folder)
    assert shown.returncode == 0, shown.stderr
    return list(json.loads(shown.stdout))


def test_aggressive_chaos_twice(tmp_path: Path) -> None:
    text = (PLAYBOOKS / "aggressive_chaos.toml").read_text()
    for long, short in SHORTER.items():
        assert long in text
        text = text.replace(long, short)
    (tmp_path / "chaos.toml").write_text(text)
    first, again = faults_of(tmp_path), faults_of(tmp_path)
    assert len(first) >= 4

    def planned(turns: list[dict[str, Any]]) -> list[Any]:
        return [[turn[key] for key in ("component", "at", "fault", "targets", "duration", "options")] for turn in turns]

    assert planned(first) == planned(again)
    for turn, twin in zip(first, again, strict=True):
        for one in (turn, twin):
            assert one["outcome"] in ("healed", "skipped"), one
            assert one["outcome"] == "skipped" or one["at"] <= one["stages"]["injected"] < one["at"] + LATE, one
    both = [turn for turn, twin in zip(first, again, strict=True) if turn["outcome"] == twin["outcome"] == "healed"]
    assert len(both) >= 3
