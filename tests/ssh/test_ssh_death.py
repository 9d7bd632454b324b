"""Controllers that were killed: what they held on a machine over SSH ends, by itself, by `clean` and by `heal`."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from harness_ssh.deployer import SshConfig, SshDeployer
from harness_ssh.hold import owner

pytestmark = [pytest.mark.anyio, pytest.mark.real]

WITHIN = 30.0
"""Seconds for a thing to come true; generous, as the machine may be busy."""


class Controller:
    """A controller in a process of its own, that may be killed."""

    def __init__(self, kit: Any, lease: float) -> None:
        script = Path(__file__).with_name("controller.py")
        variables = json.dumps(kit.sshd.variables())
        self.argv = [sys.executable, str(script), str(kit.run_dir()), str(kit.state), str(lease), variables]

    async def __aenter__(self) -> Controller:
        self.process = await anyio.open_process(self.argv, stderr=None)
        assert self.process.stdout is not None
        self._said = b""
        return self

    async def hear(self) -> str:
        assert self.process.stdout is not None
        while b"\n" not in self._said:
            with anyio.fail_after(WITHIN):
                self._said += await self.process.stdout.receive()
        line, _, self._said = self._said.partition(b"\n")
        return line.decode()

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.aclose()


@pytest.mark.parametrize("moment", ["held", "running"])
async def test_what_a_killed_controller_held_ends_with_the_lease(kit: Any, moment: str) -> None:
    async with Controller(kit, kit.lease) as controller:
        assert await controller.hear() == "begin"
        assert await controller.hear() == "held"
        pids = json.loads(await controller.hear()) if moment == "running" else []
        assert all(map(kit.alive, pids))
        controller.process.kill()
        await controller.process.wait()
    await kit.until(lambda: kit.left() == [], kit.lease + WITHIN)
    assert not any(map(kit.alive, pids))
    assert await SshDeployer(SshConfig()).clean("run", kit.run_dir()) == []


async def test_clean_does_not_wait_for_the_lease(kit: Any) -> None:
    async with Controller(kit, 600.0) as controller:
        assert [await controller.hear(), await controller.hear()] == ["begin", "held"]
        pids = json.loads(await controller.hear())
        controller.process.kill()
        await controller.process.wait()
    assert all(map(kit.alive, pids))
    # Another run's machine is none of its business.
    report = await kit.deployer().heal([kit.host], kit.access)
    assert report.done == ()
    (alone,) = report.alone
    assert alone.startswith(f"node01: run run of {owner()} since 20") and alone.endswith(" s: left alone")
    assert all(map(kit.alive, pids))
    done = await SshDeployer(SshConfig()).clean("run", kit.run_dir())
    assert done and all("node01" in line for line in done)
    assert not any(map(kit.alive, pids))
    assert kit.left() == []


async def test_heal_ends_what_dead_runs_left(kit: Any) -> None:
    """A keeper that was killed cannot end its run: whoever comes next does, from the machine's own notes."""
    async with Controller(kit, 600.0) as controller:
        assert [await controller.hear(), await controller.hear()] == ["begin", "held"]
        pids = json.loads(await controller.hear())
        controller.process.kill()
        await controller.process.wait()
    (lock,) = kit.state.glob("harness-*/lock")
    keeper = json.loads(lock.read_text())["pid"]
    beside = guardians(keeper)
    assert beside
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in (keeper, *beside):
            with suppress(ProcessLookupError):  # the agent of the lost connection too has a pipe of it, and is leaving
                os.kill(pid, number)
    await kit.until(lambda: not any(map(kit.alive, beside)))
    report = await kit.deployer().heal([kit.host], kit.access)
    assert report.done and not report.alone
    assert not any(map(kit.alive, pids))
    assert kit.left() == []


def guardians(keeper: int) -> list[int]:
    """Those who wait at the other end of a pipe for a keeper's end. Keepers of other runs, whose command line is the
    same, have nothing to do with it."""
    ours = pipes(keeper)
    everyone = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [pid for pid in everyone if pid != keeper and pipes(pid) & ours]


def pipes(pid: int) -> set[str]:
    try:
        files = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:  # gone meanwhile, or somebody else's
        return set()
    found = set()
    for file in files:
        with suppress(OSError):  # closed meanwhile
            found.add(str(file.readlink()))
    return {name for name in found if name.startswith("pipe:")}
