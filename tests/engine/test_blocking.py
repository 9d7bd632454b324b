"""Nothing blocks the event loop while load is driven: no disk, no sleep, no socket but asynchronous ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from blockbuster import BlockBuster

from harness.plugin.registry import Registry
from harness.record.events import PhaseEnded, PhaseStarted, Recorded
from harness.testing import Finished, run_playbook

pytestmark = [pytest.mark.anyio, pytest.mark.real]

PLAYBOOK = """
name = "unblocked"
chain = { use = "devnet", slot_duration = "100ms", security_param = 3 }
duration = "2s"
[topology]
validators = 3
executors = 1
[wallets]
count = 20
[[workloads]]
use = "transactions"
rate = "10/s"
[[workloads]]
use = "da"
[[workloads]]
use = "chaos.restart"
min_delay = "500ms"
max_delay = "900ms"
target_cooldown = "0s"
[[expectations]]
use = "no-forks"
[[expectations]]
use = "consensus-liveness"
"""
SLEEPER = '''
import time
from harness.api import NoConfig, Workload, hookimpl

class Sleeper(Workload[NoConfig]):
    """Sleeps on the event loop."""
    name = "sleeper"
    async def run(self, ctx):
        time.sleep(0.01)

@hookimpl
def harness_workloads():
    return [Sleeper]
'''


@contextmanager
def watching() -> Iterator[BlockBuster]:
    """Blocking calls raise, but the journal's one write to a file of this machine."""
    buster = BlockBuster()
    for function in buster.functions.values():
        function.can_block_in("harness/record/journal.py", {"_write"})
    try:
        yield buster
    finally:
        buster.deactivate()


async def run(text: str, tmp_path: Path, registry: Registry) -> Finished:
    with watching() as buster:

        def during_drive(recorded: Recorded) -> None:
            if isinstance(recorded.event, PhaseStarted) and recorded.event.phase == "drive":
                buster.activate()
            if isinstance(recorded.event, PhaseEnded) and recorded.event.phase == "drive":
                buster.deactivate()

        return await run_playbook(text, tmp_path / "runs", registry, on_event=during_drive)


async def test_the_drive_blocks_on_nothing(tmp_path: Path) -> None:
    finished = await run(PLAYBOOK, tmp_path, Registry())
    assert "Blocking" not in finished.directory.journal.read_text()
    assert finished.outcome.status == "done", finished.outcome  # a busy machine may cost it its verdict, not more


async def test_what_blocks_is_found(tmp_path: Path) -> None:
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    text = PLAYBOOK + '[[workloads]]\nuse = "sleeper"\n'
    finished = await run(text, tmp_path, Registry(project_plugins=tmp_path))
    assert finished.outcome.exit_code == 3
    assert "Blocking call to time.sleep" in finished.outcome.reason
