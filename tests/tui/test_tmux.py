"""The real program in a real terminal: typed at, and its screen read."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from fleet.errors import FleetUnavailable
from fleet.packages import ensure
from harness.record.rundir import RunDirectory

pytestmark = pytest.mark.real
PATIENCE = 25.0


class Terminal:
    """A tmux of its own, with one window of 120 columns and 36 lines."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def tmux(self, *words: str) -> str:
        command = ["tmux", "-S", str(self._socket), "-f", os.devnull, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE).stdout

    def start(self, *command: str) -> None:
        environment = [f"-e{name}=" for name in ("CI", "COLUMNS", "LINES")]
        self.tmux("new-session", "-d", "-x", "120", "-y", "36", *environment, _to_its_end(command))

    def start_again(self, *command: str) -> None:
        self.tmux("respawn-pane", "-k", _to_its_end(command))

    def type(self, *keys: str) -> None:
        self.tmux("send-keys", *keys)

    def until(self, words: str) -> str:
        give_up = time.monotonic() + PATIENCE
        while words not in (screen := self.tmux("capture-pane", "-p")):
            if time.monotonic() > give_up:
                raise AssertionError(f"{words!r} is not on the screen:\n{screen}")
            time.sleep(0.05)
        return screen


def _to_its_end(command: Sequence[str]) -> str:
    """For a shell: what it exits with is the last that is seen. (tmux tells it too, but may miss it.)"""
    return f"{shlex.join(command)}; echo exit status $?; exec sleep 600"


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    try:
        ensure({"tmux": "tmux"})
    except FleetUnavailable as missing:
        if os.environ.get("CI"):  # a test never passes by skipping
            raise
        pytest.skip(str(missing))
    made = Terminal(tmp_path / "tmux")
    yield made
    subprocess.run(["tmux", "-S", str(tmp_path / "tmux"), "kill-server"], capture_output=True, timeout=PATIENCE)


def test_a_run_that_is_over_is_seen_sought_through_and_left(
    recording: Callable[[str], RunDirectory], terminal: Terminal
) -> None:
    directory = recording("healthy")
    terminal.start(sys.executable, "-m", "harness", "watch", str(directory.path))
    screen = terminal.until("executor-1")
    assert "REPLAY" in screen and "PASS" in screen and "expectations" in screen
    terminal.type("?")
    terminal.until("What is looked at")
    terminal.type("Escape")
    terminal.type("S-Left")
    terminal.until("nothing wrong so far")
    terminal.type("l")
    terminal.until("PASS")
    terminal.type("4", "/", "x", "y")  # all at once
    assert "╭─ search" in terminal.until("│  xy ")
    terminal.type("Escape")
    terminal.until("q Leave")
    terminal.type("q")
    assert "exit status 0" in terminal.until("exit status")


PLAYBOOK = """
name = "watched"
chain = { use = "devnet", slot_duration = "200ms" }
duration = "5m"
[topology]
layout = "full"
validators = 2
[wallets]
count = 5
[[workloads]]
use = "transactions"
rate = "5/s"
users = 5
[[expectations]]
use = "consensus-liveness"
"""


def test_a_run_is_paused_left_watched_again_and_aborted(tmp_path: Path, terminal: Terminal) -> None:
    playbook, runs = tmp_path / "watched.toml", tmp_path / "runs"
    playbook.write_text(PLAYBOOK)
    harness = (sys.executable, "-m", "harness")
    terminal.start(*harness, "run", str(playbook), "--runs", str(runs))
    assert "LIVE" in terminal.until("▸ drive")
    terminal.type("p")
    terminal.until("PAUSED")
    terminal.type("Space")
    terminal.until("FROZEN")
    terminal.type("Space")
    terminal.type("p")
    terminal.until("LIVE")
    terminal.type("q")
    terminal.until("Leave it?")
    terminal.type("d")
    assert "exit status 2" in terminal.until("exit status"), "nobody knows the verdict yet"
    [directory] = [RunDirectory(path) for path in runs.iterdir()]
    assert directory.is_alive()
    terminal.start_again(*harness, "watch", str(directory.path))
    terminal.until("LIVE")
    terminal.type("a")
    terminal.until("Abort the run?")
    terminal.type("a")
    terminal.until("INTERRUPTED")
    give_up = time.monotonic() + PATIENCE
    while directory.is_alive() and time.monotonic() < give_up:
        time.sleep(0.05)
    assert not directory.is_alive() and directory.result.exists()
    steered = [line for line in directory.journal.read_text().splitlines() if '"kind":"steered"' in line]
    assert [what for what in ("pause", "resume", "abort") if any(f'"what":"{what}"' in one for one in steered)] == [
        "pause", "resume", "abort",
    ]  # fmt: skip
