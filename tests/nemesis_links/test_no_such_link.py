"""What would cut no link of the network's layout is told in plan."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.errors import ExitCode
from harness.plugin.registry import Registry
from harness.testing import run_playbook

pytestmark = pytest.mark.anyio

PLAYBOOK = """
name = "star"
chain = "devnet"
duration = "20s"
budget = "unlimited"
[topology]
layout = "star"
validators = 4
[[expectations]]
use = "nodes-healthy"
"""
STEP = '[[steps]]\nfault = "{}"\n{}\n'
CHAOS = '[[workloads]]\nuse = "chaos.block_peer"\nmin_delay = "1s"\nmax_delay = "2s"\n'
OUTER = 'from = "validator-1"\nto = "validator-2"\n'


@pytest.mark.parametrize(
    "rest",
    [
        STEP.format("block_peer", OUTER),
        STEP.format("block_peer", 'targets = "validator-1,validator-2"'),
        STEP.format("partition", 'grudge = { "validator-1" = ["validator-2"] }'),
        CHAOS + OUTER,
    ],
)
async def test_what_cuts_no_link_is_told_in_plan(tmp_path: Path, rest: str) -> None:
    """In a star, all but the first know only the first."""
    finished = await run_playbook(PLAYBOOK + rest, tmp_path, Registry())
    assert finished.outcome.exit_code is ExitCode.USAGE
    assert re.search(
        r"no link of this network carries what it is to disturb \(validator-[12] to validator-[12]",
        finished.outcome.reason,
    )
    assert "unlimited" not in finished.outcome.reason and "heal that" not in finished.outcome.reason
    assert "playbook.toml:11:" in finished.outcome.reason
