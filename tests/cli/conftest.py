"""`harness` as a user runs it: a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Run `harness ARGS…` in an empty folder."""
    folder = tmp_path / "cwd"
    folder.mkdir()

    def run(*args: str | Path, cwd: Path = folder, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "harness", *args]
        return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=timeout)

    return run


@pytest.fixture
def playbooks() -> Path:
    return ROOT / "playbooks"


@pytest.fixture
def inventories() -> Path:
    return ROOT / "inventories"
