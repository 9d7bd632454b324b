"""The judge is judged: real nodes, broken on purpose, must fail by the right expectation with the right evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.plugin.registry import Registry
from harness.record.state import ExpectationState
from harness.testing import Finished, run_playbook

pytestmark = [pytest.mark.anyio, pytest.mark.real]

PLAYBOOK = """
name = "judged"
duration = "{duration}"
seed = 11
chain = {{ use = "devnet", slot_duration = "80ms", active_slot_coeff = 0.5, security_param = 4{chain} }}
[topology]
layout = "full"
validators = 3
executors = 1
[wallets]
count = 6
{more}
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
rate = "10/s"
users = 6
[[expectations]]
use = "balances-conserved"
"""
BLOBS = """
[[workloads]]
use = "da"
channel_rate = "1/s"
blob_rate = "3/s"
read_timeout = "1s"
"""
CONVERGENCE = """
[[expectations]]
use = "convergence"
"""
TIMING = """
[[expectations]]
use = "block-timing"
"""
CUT = """
[[workloads]]
use = "cut-off"
node = "validator-2"
"""
CUT_OFF = '''
from harness.api import CUT, Config, Flow, MachineCapability, Workload, hookimpl

class CutOffConfig(Config):
    node: str

class CutOff(Workload[CutOffConfig]):
    """Cuts all links of a node, for good."""
    name = "cut-off"
    Config = CutOffConfig

    def requires_machine(self):
        return frozenset({MachineCapability.LINK_CONTROL})

    async def run(self, ctx):
        name = self.config.node
        flows = [flow for other in ctx.nodes for flow in (Flow(name, other), Flow(other, name)) if other != name]
        await ctx.nodes[name]._host.deployment.shape_links(dict.fromkeys(flows, CUT))

@hookimpl
def harness_workloads():
    return [CutOff]
'''


@dataclass(frozen=True)
class Broken:
    """A way to break the network, who must say so, and what its evidence must show."""

    misbehave: Mapping[str, str]
    blamed: str
    shows: Callable[[ExpectationState], object]
    more: str = ""
    duration: str = "3s"


def everyone(switch: str) -> dict[str, str]:
    return dict.fromkeys(("validator-0", "validator-1", "validator-2", "executor-0"), switch)


def validators(switch: str) -> dict[str, str]:
    return {f"validator-{i}": switch for i in range(3)}


def text(state: ExpectationState) -> str:
    return f"{state.measured} {state.evidence}"


BREAKS = {
    "proposers stopped": Broken(
        validators("silent@8"), "consensus-liveness", lambda s: "promised" in s.measured, duration="6s"
    ),
    "one node stands still": Broken(
        {"validator-1": "freeze@8"}, "consensus-liveness", lambda s: "validator-1" in s.measured
    ),
    "one node cut off": Broken({}, "consensus-liveness", lambda s: "validator-2" in s.measured, more=CUT),
    "transactions dropped": Broken(
        everyone("drop-transactions"), "transaction-inclusion", lambda s: "lost" in text(s), more=TRAFFIC
    ),
    "a balance forged": Broken(
        {"validator-1": "forge-balance@5"}, "balances-conserved", lambda s: "validator-1" in text(s), more=TRAFFIC
    ),
    "shares corrupted": Broken(
        {"validator-0": "corrupt-shares", "validator-1": "corrupt-shares"},
        "da-availability",
        lambda s: "unavailable" in text(s),
        more=BLOBS,
    ),
    "a fork beyond k": Broken(
        {"validator-0": "fork@3"}, "no-forks", lambda s: "validator-0" in text(s) and "height" in text(s), duration="5s"
    ),
    "nodes on two chains": Broken(
        {"validator-0": "fork@3"}, "convergence", lambda s: "validator-0" in s.measured, more=CONVERGENCE, duration="5s"
    ),
    "a pace too slow": Broken(
        {"validator-0": "silent", "validator-1": "silent"},
        "block-timing",
        lambda s: "mean interval" in s.measured,
        more=TIMING,
        duration="20s",
    ),
    "a node panics": Broken(
        {"validator-2": "panic@10"}, "nodes-healthy", lambda s: "validator-2" in text(s) and "Traceback" in text(s)
    ),
}


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setenv("HARNESS_DEVNET_MISBEHAVE", "allowed")
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "cut_off.py").write_text(CUT_OFF)

    async def run(broken: Broken) -> Finished:
        table = ", ".join(f'{name} = "{switch}"' for name, switch in broken.misbehave.items())
        chain = f", misbehave = {{ {table} }}" if table else ""
        playbook = PLAYBOOK.format(chain=chain, more=broken.more, duration=broken.duration)
        registry = Registry(project_plugins=plugins)
        return await run_playbook(playbook, tmp_path / "runs", registry, deployer="process")

    return run


@pytest.mark.parametrize("name", BREAKS)
async def test_it_fails_by_the_right_expectation_with_the_right_evidence(judge: Callable[..., Any], name: str) -> None:
    broken = BREAKS[name]
    finished: Finished = await judge(broken)
    judged = finished.state.expectations
    assert finished.outcome.exit_code == 1, finished.outcome
    assert judged[broken.blamed].verdict == "fail", judged[broken.blamed]
    assert broken.shows(judged[broken.blamed]), text(judged[broken.blamed])


async def test_one_corrupt_share_is_detected_and_does_no_harm(judge: Callable[..., Any]) -> None:
    finished: Finished = await judge(Broken({"validator-0": "corrupt-shares"}, "", bool, more=BLOBS))
    assert finished.verdict_of("da-availability") == "pass"
    executor = finished.directory.log("executor-0").read_text()
    assert "share" in executor
    assert "validator-0" in executor


async def test_what_could_not_be_measured_is_unknown(judge: Callable[..., Any]) -> None:
    finished: Finished = await judge(Broken({}, "", bool, more=TRAFFIC.replace("10/s", "0.001/s"), duration="20ms"))
    assert finished.verdict_of("consensus-liveness") == "unknown"
    assert finished.outcome.exit_code == 2


async def test_nodes_are_not_broken_without_leave(judge: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_DEVNET_MISBEHAVE")
    with pytest.raises(Exception, match="set HARNESS_DEVNET_MISBEHAVE=allowed to permit it"):
        await judge(Broken({"validator-0": "silent"}, "", bool))
