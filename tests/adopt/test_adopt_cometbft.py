"""Playbooks on a CometBFT network that runs already."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.api import Chain, NetworkSpec, Timing, UsageError, WalletsSpec
from harness.errors import ExitCode
from harness.testing import run_playbook
from harness_cometbft.adopting import adopt
from harness_cometbft.chain import CometBFT

pytestmark = [pytest.mark.anyio, pytest.mark.real]

PLAYBOOK = """
name = "on somebody else's"
chain = "cometbft"
duration = "12 blocks"
seed = 5
[topology]
layout = "full"
validators = 3
full = 1
[wallets]
count = 4
[[workloads]]
use = "transactions"
rate = "5/block"
[[expectations]]
use = "consensus-liveness"
[[expectations]]
use = "no-forks"
[[expectations]]
use = "nodes-healthy"
"""
ROLES = {"validator": 3, "full": 1}


async def test_a_playbook_runs_twice_at_the_pace_that_was_measured(
    testnet: Callable[..., Any], comet: Chain[Any], tmp_path: Path
) -> None:
    net = testnet(ROLES, chain=comet)
    await net.reach(12)
    inventory, pids = net.by_pid_files(), net.pids
    first = await run_playbook(PLAYBOOK, tmp_path / "runs", inventory=inventory)
    assert first.outcome.exit_code is ExitCode.PASS, first.outcome.reason
    second = await run_playbook(PLAYBOOK, tmp_path / "runs", inventory=inventory)  # with the same keys: none is refused
    assert second.outcome.exit_code is ExitCode.PASS, second.outcome.reason
    assert second.state.run is not None
    assert 0.3 < second.state.run.block_interval < 0.9  # 300 ms and a little; the playbook's options say 1.05 s
    assert net.all_there()
    assert net.pids == pids


async def test_members_are_known_by_what_their_apis_say(
    testnet: Callable[..., Any], comet: Chain[Any], tmp_path: Path
) -> None:
    net = testnet({"validator": 2, "full": 1}, chain=comet, wallets=0)
    await net.reach(1)
    spec = NetworkSpec("r", 1, net.network.spec.topology, WalletsSpec(), 0.0)
    young = Timing(7.0, 0)
    network = await adopt(spec, net.apis, young)
    assert [network.power(node) for node in net.nodes] == [10, 10, 0]
    assert network.other_power == 0
    swapped = net.apis | {"validator-0": net.apis["full-0"], "full-0": net.apis["validator-0"]}
    with pytest.raises(UsageError, match=r"'full-0', has no voting power, and the playbook has a validator node there"):
        await adopt(spec, swapped, young)
    with pytest.raises(UsageError, match="are one and the same node"):
        await adopt(spec, net.apis | {"validator-1": net.apis["validator-0"]}, young)
    other = testnet({"validator": 1}, chain=CometBFT(comet.config), run_id="another")
    await other.reach(1)
    with pytest.raises(UsageError, match="is of the network 'another', and .* of 'somebody-elses'"):
        await adopt(spec, net.apis | {"full-0": other.apis["validator-0"]}, young)
