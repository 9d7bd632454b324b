"""The fault cpu-stress on nodes that do not run, or end while it holds: it is not told as being there."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import ExitCode
from harness.plugin.registry import Registry
from harness.record.events import FaultStaged
from harness.record.journal import read_journal
from harness.testing import run_playbook

pytestmark = [pytest.mark.anyio, pytest.mark.real]

PLAYBOOK = """
name = "stress"
chain = { use = "devnet", slot_duration = "100ms" }
duration = "8s"
seed = 5
settle = "1s"
budget = "unlimited"
[topology]
layout = "full"
validators = 2
executors = 1
[[expectations]]
use = "no-forks"
"""
KILL = '[[steps]]\nname = "kill"\nfault = "kill"\ntargets = "executor-0"\n'
STRESS = '[[steps]]\nname = "stress"\nfault = "cpu-stress"\nworkers = 1\ntargets = "executor-0"\n'


async def stages(tmp_path: Path, steps: str) -> tuple[ExitCode, str, list[str]]:
    finished = await run_playbook(PLAYBOOK + steps, tmp_path, Registry())
    events = [one.event for one in read_journal(finished.directory.journal)]
    of_stress = [e.stage for e in events if isinstance(e, FaultStaged) and e.fault == "cpu-stress"]
    return finished.outcome.exit_code, finished.outcome.reason, of_stress


async def test_a_node_that_does_not_run_is_refused(tmp_path: Path) -> None:
    code, reason, of_stress = await stages(tmp_path, KILL + STRESS)
    assert code is ExitCode.INFRASTRUCTURE
    assert "cpu-stress of executor-0 was not applied: executor-0 does not run" in reason
    assert "proven" not in of_stress and of_stress[-1] == "healed"


async def test_of_a_node_that_has_ended_meanwhile_it_cannot_be_told(tmp_path: Path) -> None:
    code, reason, of_stress = await stages(tmp_path, STRESS + KILL + '[[steps]]\nheal = "stress"\n')
    assert code is ExitCode.UNKNOWN, reason
    assert of_stress == ["intended", "injected", "proven", "healing", "healed"]
