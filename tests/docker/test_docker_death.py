"""SIGKILL of the controller: what it made is removed without it, at whatever moment it dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any

import pytest

from harness.api import Access

pytestmark = [pytest.mark.anyio, pytest.mark.real]

CONTROLLER = Path(__file__).with_name("docker_controller.py")
SOURCE = Path(__file__).parents[2]


class Victim:
    def __init__(self, run_dir: Path, run_id: str) -> None:
        path = f"{SOURCE}:{SOURCE / 'plugins'}:{sysconfig.get_path('purelib')}"
        argv = [sys.executable, str(CONTROLLER), str(run_dir), run_id]
        environment = {**os.environ, "PYTHONPATH": path}
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment)

    def wait_for(self, line: str) -> None:
        assert self.process.stdout is not None
        for said in self.process.stdout:
            if said.strip() == line:
                return
        pytest.fail(f"it ended without {line!r}")

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def reapers(run_dir: Path) -> list[int]:
    """By the log that they hold open."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "fd" / "2").readlink() == run_dir / "reaper.log":
                found.append(int(entry.name))
        except OSError:  # it has ended
            continue
    return found


@pytest.mark.parametrize(
    ("line", "delay"), [("begin", 0.5), ("begin", 1.5), ("deployed", 0), ("deployed", 0.5), ("up", 0.7), ("cut", 0)]
)
async def test_nothing_of_it_outlives_it_for_long(kit: Any, line: str, delay: float) -> None:
    victim = Victim(kit.folder / "run", kit.run_id)
    try:
        victim.wait_for(line)
        time.sleep(delay)
    finally:
        victim.end()
    await kit.eventually(lambda: not reapers(kit.folder / "run"), "the reaper has done and left")
    assert kit.left() == []
    assert await kit.deployer().clean(kit.run_id, kit.folder / "run") == []
    assert not (kit.folder / "run" / "spool").exists()


async def test_when_the_reaper_is_killed_too_it_is_found_by_its_labels(kit: Any) -> None:
    victim = Victim(kit.folder / "run", kit.run_id)
    try:
        victim.wait_for("up")
        alone = [line for line in (await kit.deployer().heal([], Access())).alone if kit.run_id in line]
        assert len(alone) == 1 and "which still runs: left alone" in alone[0]
        assert len(kit.left()) == 10  # of the living nothing is removed
        for reaper in reapers(kit.folder / "run"):
            os.kill(reaper, signal.SIGKILL)
    finally:
        victim.end()
    assert len(kit.left()) == 10
    removed = await kit.deployer().heal([], Access())
    assert len([line for line in removed.done if kit.run_id in line]) == 10
    assert kit.left() == []
