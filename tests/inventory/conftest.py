"""Ansible itself, to be asked what an inventory means."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent

Answers = Callable[[Path, Sequence[str]], dict[str, Any]]
Ansible = Callable[..., str]


@pytest.fixture(scope="session")
def ansible_home(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment to run Ansible in: nothing of the user's settings, nothing of ours."""
    if not (BIN / "ansible-inventory").exists():
        if os.environ.get("CI"):
            pytest.fail("ansible-core is not installed, and CI must compare inventories with it")
        pytest.skip("ansible-core is not installed: pip install -e .[dev]")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    home = tmp_path_factory.mktemp("ansible")
    (home / "ansible.cfg").write_text("")
    ours = {"ANSIBLE_HOME": str(home), "ANSIBLE_CONFIG": str(home / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    return kept | ours


@pytest.fixture(scope="session")
def ansible(ansible_home: dict[str, str]) -> Ansible:
    """Run one of Ansible's programs; gives what it prints."""

    def run(program: str, *args: str | Path, check: bool = True) -> str:
        command = [str(BIN / program), *map(str, args)]
        done = subprocess.run(command, capture_output=True, text=True, env=ansible_home, timeout=120)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def answers(ansible_home: dict[str, str]) -> Iterator[Answers]:
    """Ask Ansible's own library, in a process that stays: for many small inventories."""
    command = [sys.executable, str(HERE / "ansible_answers.py")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=ansible_home) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def ask(path: Path, patterns: Sequence[str] = ()) -> dict[str, Any]:
            process.stdin.write(json.dumps({"path": str(path), "patterns": list(patterns)}) + "\n")
            process.stdin.flush()
            found: dict[str, Any] = json.loads(process.stdout.readline())
            assert "error" not in found, found["error"]
            return found

        yield ask
        process.stdin.close()
