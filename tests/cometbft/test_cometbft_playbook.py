"""The playbook that comes with the chain."""

from __future__ import annotations

import random
import tomllib
from pathlib import Path

from harness.api import TopologySpec, WalletsSpec
from harness.spec.topology import build_topology
from harness_cometbft.chain import CometBFT

PLAYBOOK = Path(__file__).parents[2] / "playbooks" / "cometbft_smoke.toml"


def test_its_options_and_roles_are_the_chains() -> None:
    playbook = tomllib.loads(PLAYBOOK.read_text())
    options = {key: value for key, value in playbook["chain"].items() if key != "use"}
    chain = CometBFT(CometBFT.Config.model_validate(options))
    roles = {"validator": playbook["topology"]["validators"], "full": playbook["topology"]["full"]}
    assert roles.keys() == CometBFT.roles.keys()
    topology = build_topology(TopologySpec(playbook["topology"]["layout"], roles), random.Random(1))
    assert chain.check(topology, WalletsSpec(**playbook["wallets"])) == []
    assert chain.timing.block_interval < 1.1
