"""That relays do what the kernel was asked for is said, with the reason: in plan as far as it is known there, and once
when a run begins."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.api import Link, MachineCapability
from harness.testing.fakes import FakeChain, FakeChainConfig
from harness_agent.tc import QUEUES, Survey
from harness_ssh import shaping
from harness_ssh.shaping import offer, said

CONTROL, DELAY = MachineCapability.LINK_CONTROL, MachineCapability.LINK_DELAY
RATE, LOSS = MachineCapability.LINK_RATE, MachineCapability.LINK_LOSS
PLAYBOOK = """
name = "slow"
duration = "20s"
chain = "devnet"
seed = 1
[topology]
validators = 3
[[steps]]
at = "1s"
fault = "latency"
delay = "20ms"
hold = "5s"
[[expectations]]
use = "no-forks"
"""


def test_what_is_needed_is_told_and_nothing_else() -> None:
    why_not = {CONTROL: "no nft", DELAY: "no netem", LOSS: "no nft"}
    assert said(why_not, {DELAY, RATE, LOSS}) == [
        "packets are not delayed by tc; relays hold streams instead: no netem"
    ]
    assert said(why_not, {CONTROL}) == ["packets are not dropped by nft; relays hold streams instead: no nft"]
    assert said(why_not, {MachineCapability.PAUSE}) == [] == said({}, QUEUES)


@pytest.mark.anyio
async def test_what_a_machine_has_relays_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nftless(machine: Any, peers: Any) -> str:
        return "no nft"

    async def half(machine: Any, peers: Any) -> Any:
        return Survey("tc", {DELAY: "no netem"}, {}, {})

    monkeypatch.setattr(shaping, "rules_of", nftless)
    monkeypatch.setattr(shaping, "queues_of", half)
    machine: Any = None
    assert (await offer("auto", machine, "")).instead.keys() == {CONTROL, DELAY}
    assert (await offer("auto", machine, "two nodes")).instead.keys() == {CONTROL, DELAY, RATE}
    for links in ("relay", "nft"):
        assert (await offer(links, machine, "two nodes")).instead == {}, "nothing else was asked for"  # type: ignore[arg-type]


@pytest.mark.real
@pytest.mark.anyio
async def test_a_run_says_it_once(kit: Any) -> None:
    why = "relays hold streams instead: node01 has several nodes, a and b, with one address"
    delayed, slowed = f"ssh: packets are not delayed by tc; {why}", f"ssh: packets are not slowed down by tc; {why}"
    async with kit.deploy("a", "b", links=[Link("a", "b")], needs=QUEUES):
        assert kit.warnings == [delayed, slowed]
    kit.warnings.clear()
    async with kit.deploy("a", "b", run_id="two", links=[Link("a", "b")], needs=QUEUES, by="relay"):
        assert kit.warnings == []
    reports = await kit.deployer().inspect(kit.planned("a", "b"), FakeChain(FakeChainConfig()), kit.access)
    assert [sorted(report.instead) for report in reports] == [[CONTROL, DELAY, RATE]]


@pytest.mark.real
def test_a_plan_says_it(kit: Any, tmp_path: Path) -> None:
    variables = "\n".join(f"{name} = {json.dumps(value)}" for name, value in kit.sshd.variables().items())
    inventory, playbook = tmp_path / "lab.toml", tmp_path / "slow.toml"
    options = f"harness_deployer = 'ssh'\nharness_deployer_config = {{ state = '{kit.state}' }}"
    inventory.write_text(f"[all.vars]\n{options}\n[validators.hosts.node01]\n{variables}\n")
    playbook.write_text(PLAYBOOK)
    command = [sys.executable, "-m", "harness", "run", str(playbook), "-i", str(inventory), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    told = [line.strip() for line in done.stdout.splitlines() if "instead" in line]
    assert told == [
        "host node01: packets are not delayed by tc; relays hold streams instead: "
        "node01 has several nodes, validator-0 and validator-1, with one address"
    ]
