"""The real program in a real terminal: typed at, and its screen read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

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
        self.tmux("new-session", "-d", "-x", "120", "-y", "36", *environment, *command)
        self.tmux("set-option", "-g", "remain-on-exit", "on")

    def type(self, *keys: str) -> None:
        self.tmux("send-keys", *keys)

    def until(self, words: str) -> str:
        give_up = time.monotonic() + PATIENCE
        while words not in (screen := self.tmux("capture-pane", "-p")):
            if time.monotonic() > give_up:
                raise AssertionError(f"{words!r} is not on the screen:\n{screen}")
            time.sleep(0.05)
        return screen


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    if shutil.which("tmux") is None:
        if os.environ.get("CI"):
            pytest.fail("tmux is not installed")
        pytest.skip("tmux is not installed")
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
    terminal.type("4")
    terminal.until("/ Search")
    terminal.type("q")
    assert "Pane is dead (status 0" in terminal.until("Pane is dead")
