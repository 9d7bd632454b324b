"""Playbooks on a devnet that runs already: by its endpoints alone, and by pid files on this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ExitCode
from harness.record.events import BlockObserved
from harness.record.journal import read_journal
from harness.testing import run_playbook

pytestmark = [pytest.mark.anyio, pytest.mark.real]

PLAYBOOK = """
name = "on a testnet"
chain = "devnet"
duration = "12 blocks"
seed = 5

[topology]
layout = "full"
validators = 2
executors = 1

[wallets]
count = 6
balance = 10000

[[workloads]]
use = "transactions"
rate = "3/block"

[[workloads]]
use = "da"
channel_rate = "1/block"
blob_rate = "1/block"

[[expectations]]
use = "consensus-liveness"

[[expectations]]
use = "no-forks"

[[expectations]]
use = "balances-conserved"
"""
HEALTHY = '\n[[expectations]]\nuse = "nodes-healthy"\n'


async def test_a_playbook_runs_twice_on_endpoints_alone_at_the_networks_own_pace(
    testnet: Callable[..., Any], tmp_path: Path
) -> None:
    net = testnet()
    inventory = net.endpoints_alone()
    first = await run_playbook(PLAYBOOK, tmp_path / "runs", inventory=inventory)
    assert first.outcome.exit_code is ExitCode.PASS, first.outcome.reason
    assert first.state.run is not None
    assert first.state.run.deployer == "adopt"
    assert (first.state.run.block_interval, first.state.run.finality_depth) == (0.4, 3)  # the playbook's would be 1, 10
    assert first.state.run.duration == pytest.approx(4.8)
    # The second begins high up the chain, with wallets that have been used.
    second = await run_playbook(PLAYBOOK, tmp_path / "runs", inventory=inventory)
    assert second.outcome.exit_code is ExitCode.PASS, second.outcome.reason
    events = [recorded.event for recorded in read_journal(second.directory.journal)]
    heights = [event.height for event in events if isinstance(event, BlockObserved)]
    assert min(heights) > 5
    assert net.all_there()


async def test_health_of_endpoints_alone_is_not_known(testnet: Callable[..., Any], tmp_path: Path) -> None:
    net = testnet()
    finished = await run_playbook(PLAYBOOK + HEALTHY, tmp_path / "runs", inventory=net.endpoints_alone())
    assert finished.verdict_of("nodes-healthy") == "unknown"
    assert finished.verdict_of("consensus-liveness") == "pass"
    assert finished.outcome.exit_code is ExitCode.UNKNOWN


async def test_pid_files_tell_of_health_and_logs(testnet: Callable[..., Any], tmp_path: Path) -> None:
    net = testnet()
    pids = net.pids
    finished = await run_playbook(PLAYBOOK + HEALTHY, tmp_path / "runs", inventory=net.by_pid_files())
    assert finished.outcome.exit_code is ExitCode.PASS, finished.outcome.reason
    assert {name: node.pid for name, node in finished.state.nodes.items()} == pids
    assert net.all_there()
    assert net.pids == pids
