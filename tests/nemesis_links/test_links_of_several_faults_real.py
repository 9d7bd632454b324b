"""Real nodes on this machine, whose links are delayed and slowed down at once: each fault is proven, and its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.record.events import FaultStaged
from harness.record.journal import read_journal
from harness.testing import run_playbook

pytestmark = [pytest.mark.anyio, pytest.mark.real]

PLAYBOOK = """
name = "both"
chain = { use = "devnet", slot_duration = "200ms", security_param = 3 }
duration = "45s"
budget = "unlimited"
[topology]
layout = "full"
validators = 3
[[expectations]]
use = "convergence"
[[steps]]
name = "slow"
fault = "latency"
delay = "60ms"
targets = "validator-0"
[[steps]]
name = "narrow"
fault = "bandwidth"
rate = "256KiB"
targets = "validator-0"
[[steps]]
heal = "slow"
[[steps]]
name = "slow again"
fault = "latency"
delay = "60ms"
targets = "validator-1"
[[steps]]
heal = "narrow"
"""


async def test_each_is_told_apart_from_the_other(tmp_path: Path) -> None:
    finished = await run_playbook(PLAYBOOK, tmp_path / "runs")
    assert finished.outcome.exit_code == 0, finished.outcome
    events = [one.event for one in read_journal(finished.directory.journal)]
    stages = [(one.id, one.stage) for one in events if isinstance(one, FaultStaged)]
    told = [one for one in stages if one[1] in ("proven", "healed")]
    assert told == [
        ("f1", "proven"),
        ("f2", "proven"),
        ("f1", "healed"),
        ("f3", "proven"),
        ("f2", "healed"),
        ("f3", "healed"),
    ], stages
