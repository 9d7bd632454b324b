"""Playbooks on nodes that run as systemd units of hosts reached by ssh."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ExitCode
from harness.record.events import FaultStaged, Recorded
from harness.testing import run_playbook

pytestmark = [pytest.mark.anyio, pytest.mark.real]

PLAYBOOK = """
name = "on units"
chain = "devnet"
duration = "20s"
seed = 5
[topology]
layout = "full"
validators = 3
[wallets]
count = 4
balance = 10000
[[expectations]]
use = "consensus-liveness"
[[expectations]]
use = "no-forks"
[[expectations]]
use = "nodes-healthy"
"""
TRAFFIC = """
[[workloads]]
use = "transactions"
rate = "3/block"
[[expectations]]
use = "balances-conserved"
"""
CHAOS = """
[[workloads]]
use = "chaos.restart"
min_delay = "2s"
max_delay = "4s"
target_cooldown = "3s"
"""
ROLES = {"validator": 3}


async def test_looking_on_leaves_every_process_as_it_was(unit_testnet: Callable[..., Any], tmp_path: Path) -> None:
    net = unit_testnet(ROLES)
    pids = net.pids
    text = PLAYBOOK.replace('"20s"', '"6s"') + TRAFFIC
    finished = await run_playbook(text, tmp_path / "runs", inventory=net.inventory(tmp_path / "i.toml"))
    assert finished.outcome.exit_code is ExitCode.PASS, finished.outcome.reason
    assert net.pids == pids
    assert all((finished.directory.path / "logs" / f"{name}.log").stat().st_size for name in pids)


@pytest.mark.parametrize("user", ["root", "deploy"])
@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_chaos_restarts_units_through_their_manager(
    unit_testnet: Callable[..., Any], tmp_path: Path, user: str, how: str
) -> None:
    net = unit_testnet(ROLES)
    pids = net.pids
    inventory = net.inventory(tmp_path / "i.toml", control=True, ansible_user=user)
    finished = await run_playbook(f'{PLAYBOOK}{CHAOS}how = "{how}"\n', tmp_path / "runs", inventory=inventory)
    assert finished.outcome.exit_code is ExitCode.PASS, finished.outcome.reason
    faults = finished.state.faults.values()
    assert len(faults) >= 4
    assert all(fault.stage == "healed" for fault in faults)
    restarted = {target for fault in faults for target in fault.targets}
    assert {name for name, pid in net.pids.items() if pid != pids[name]} == restarted
    assert net.all_active()


async def test_a_unit_that_is_not_there_is_the_users_mistake(unit_testnet: Callable[..., Any], tmp_path: Path) -> None:
    net = unit_testnet({"validator": 1})
    net.units["validator-0"] = "testnet-of-nobody"
    inventory = net.inventory(tmp_path / "i.toml")
    net.units["validator-0"] = "testnet-validator-0.service"
    text = PLAYBOOK.replace("validators = 3", "validators = 1")
    finished = await run_playbook(text, tmp_path / "runs", inventory=inventory)
    assert finished.outcome.exit_code is ExitCode.USAGE
    assert "testnet-of-nobody.service: there is no such unit" in finished.outcome.reason
    assert f"{tmp_path}/i.toml:" in finished.outcome.reason


async def test_an_interrupt_while_one_is_down_starts_it_again(unit_testnet: Callable[..., Any], tmp_path: Path) -> None:
    net = unit_testnet(ROLES)

    def interrupt(recorded: Recorded) -> None:
        if isinstance(recorded.event, FaultStaged) and recorded.event.stage == "proven":
            os.kill(os.getpid(), signal.SIGINT)

    finished = await run_playbook(
        f'{PLAYBOOK}{CHAOS}down = "10s"\n', tmp_path / "runs",
        inventory=net.inventory(tmp_path / "i.toml", control=True), on_event=interrupt,
    )  # fmt: skip
    assert finished.outcome.exit_code is ExitCode.INTERRUPTED, finished.outcome.reason
    assert net.all_active()


async def test_when_the_controller_is_killed_the_machine_starts_it_again(
    unit_testnet: Callable[..., Any], tmp_path: Path
) -> None:
    net = unit_testnet(ROLES)
    net.inventory(tmp_path / "i.toml", control=True, harness_deployer="ssh")
    with (tmp_path / "i.toml").open("a") as file:
        file.write('[all.vars.harness_deployer_config]\nlease = "10s"\n')
    (tmp_path / "p.toml").write_text(f'{PLAYBOOK}{CHAOS}down = "30s"\n')
    argv = [sys.executable, "-m", "harness", "run", "p.toml", "-i", "i.toml", "--output", "json"]
    with subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as controller:
        assert controller.stdout is not None
        try:
            for line in controller.stdout:
                event = json.loads(line)
                if event["kind"] == "fault-staged" and event["stage"] == "proven":
                    break
            else:
                pytest.fail("no node was ever taken down")
        finally:
            controller.kill()
    assert not net.all_active()
    deadline = time.monotonic() + 30
    while not net.all_active():
        assert time.monotonic() < deadline, "the lease is over, and it is still down"
        time.sleep(0.5)
