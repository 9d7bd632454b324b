"""One `check` tells all that it can know: what is mended brings nothing new to light."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]

WRONG = """\
name = "wrong in many ways"
chain = { use = "devnet", slot_duration = "200ms" }
duration = "20s"
[topology]
validators = 4
[wallets]
count = 10
[[workloads]]
use = "transactions"
users = 5
[[workloads]]
use = "transactions"
users = 5
[[workloads]]
use = "transactions"
rat = "10/s"
[[workloads]]
use = "chaos.kill"
targets = "nobody"
[[workloads]]
use = "chaos.partition"
shape = "halves"
[[expectations]]
use = "convergence"
[[steps]]
at = "1s"
fault = "partition"
shape = "halves"
hold = "2s"
[[steps]]
at = "25s"
fault = "kill"
targets = "validator-[01]"
hold = "2s"
[[steps]]
fault = "latency"
delai = "2s"
[[steps]]
heal = "unknown"
"""
TOLD = {
    11: "would send from wallets that transactions sends from",
    16: "unknown key",
    19: "nobody",
    20: "the fault budget does not allow partition",
    25: "the fault budget does not allow partition",
    31: "is after the end of the drive",
    30: "the fault budget does not allow kill",
    37: "unknown key",
    39: "no step before it has a fault of this name",
}
"""Line → what is wrong there."""


def told(stderr: str, path: Path) -> list[tuple[int, str]]:
    found = re.findall(rf"{re.escape(str(path))}:(\d+):\d+: (.*)", stderr)
    return [(int(line), what) for line, what in found]


@pytest.mark.parametrize("command", [("check",), ("run",), ("run", "--check")])
def test_errors_of_every_kind_are_told_together_by_line(cli: Cli, tmp_path: Path, command: tuple[str, ...]) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(WRONG)
    done = cli(*command, path)
    assert done.returncode == 4
    found = told(done.stderr, path)
    assert [line for line, _ in found] == sorted(TOLD), done.stderr
    assert all(TOLD[line] in what for line, what in found), done.stderr


def test_a_key_that_is_wrong_hides_nothing_of_other_tables(cli: Cli, tmp_path: Path) -> None:
    """Of the harness's own keys, and of templates."""
    path = tmp_path / "wrong.toml"
    wrong = WRONG.replace("delai", "delay").replace('[[steps]]\nheal = "unknown"', '[[steps]]\nhold = "2s"\nabort = 3')
    path.write_text(wrong.replace('rat = "10/s"', 'rate = "{{ rat }}"'))
    done = cli("check", path)
    lines = [line for line, _ in told(done.stderr, path)]
    assert lines == [11, 16, 19, 20, 25, 30, 31, 40], done.stderr


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [('duration = "20s"', 'duration = "20s"\nbuget = "unlimited"', 4), ("validators = 4", "validaters = 4", 5)],
)
def test_what_is_not_known_is_not_held_against_the_rest(
    cli: Cli, tmp_path: Path, old: str, new: str, line: int
) -> None:
    """A budget that was to be lifted, nodes that were to be there."""
    path = tmp_path / "wrong.toml"
    path.write_text(WRONG.replace(old, new))
    done = cli("check", path)
    assert line in [one for one, _ in told(done.stderr, path)] and "budget does not allow" not in done.stderr


def test_a_problem_of_the_inventory_hides_nothing_of_the_playbook(cli: Cli, tmp_path: Path) -> None:
    path, inventory = tmp_path / "wrong.toml", tmp_path / "lab.toml"
    path.write_text(WRONG)
    inventory.write_text("[executors.hosts]\nhere = {}\n[validators]\nhosts = {}\n")
    done = cli("check", path, "-i", inventory)
    assert [line for line, _ in told(done.stderr, path)] == sorted(TOLD), done.stderr
    assert "no host for role validator" in done.stderr
