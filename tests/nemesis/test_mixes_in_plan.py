"""Faults of a mix that can change nothing are told in plan, at their lines."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

MIX = """\
name = "mix"
chain = { use = "devnet", slot_duration = "200ms" }
duration = "DURATION"
[topology]
layout = "star"
validators = 4
[[workloads]]
use = "chaos.mix"
min_delay = "2s"
max_delay = "3s"
duration = "1s"
target_cooldown = "1s"
faults = [
  { use = "pause" },
  FAULT,
]
[[expectations]]
use = "convergence"
"""
AT = 15


def check(tmp_path: Path, fault: str, duration: str = "60s") -> list[tuple[int, str]]:
    path = tmp_path / "mix.toml"
    path.write_text(MIX.replace("FAULT", fault).replace("DURATION", duration))
    argv = [sys.executable, "-m", "harness", "check", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    found = re.findall(rf"{re.escape(str(path))}:(\d+):\d+: (.*)", done.stderr)
    assert done.returncode == (4 if found else 0), done.stderr
    return [(int(line), what) for line, what in found]


@pytest.mark.parametrize("duration", ["60s", "4s"])
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ('{ use = "kill", weight = 0 }', "must be more than 0, not 0"),
        ('{ use = "join" }', "nobody can be chosen for join"),
        ('{ use = "partition", shape = "halves" }', "the fault budget does not allow partition"),
        ('{ use = "block_peer", from = "validator-1", to = "validator-2" }', "no link"),
        ('{ use = "block_peer", from = "validator-1", to = "validator-9" }', 'no node is called "validator-9"'),
    ],
)
def test_what_can_change_nothing_is_told_at_its_line(tmp_path: Path, fault: str, said: str, duration: str) -> None:
    (line, what), *more = check(tmp_path, fault, duration)
    assert line == AT and said in what and not more, [what, *more]


@pytest.mark.parametrize(
    "fault",
    [
        '{ use = "kill" }',
        '{ use = "kill", weight = 1e-6 }',
        '{ use = "partition", shape = "isolate" }',
        '{ use = "latency", delay = "10ms" }',
    ],
)
def test_what_may_change_something_is_right(tmp_path: Path, fault: str) -> None:
    assert check(tmp_path, fault) == []
