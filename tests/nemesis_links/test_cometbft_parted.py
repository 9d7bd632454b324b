"""CometBFT parted: two and two make no block, three and one do, and all end on one chain. On four machines by nft, on
two with two nodes each by relays, in containers by either."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from fleet import inventory
from harness.api import UsageError
from harness.spec.inventory import Inventory
from harness.testing import run_playbook
from harness_cometbft import binary

pytestmark = [pytest.mark.anyio, pytest.mark.real]

PLAYBOOK = """
name = "parted"
duration = "80s"
budget = "unlimited"
settle = "10s"
chain = { use = "cometbft", timeout_commit = "500ms" }
[topology]
layout = "full"
validators = 4
[[steps]]
at = "block 3"
fault = "partition"
shape = "halves"
hold = "12s"
[[steps]]
at = "block 8"  # it makes blocks again
fault = "partition"
shape = "isolate"
targets = "validator-3"
hold = "12s"
[[expectations]]
use = "no-forks"
[[expectations]]
use = "convergence"
within = "60 blocks"  # what was held back comes when TCP sends it again, which it does ever more rarely
"""

CONTAINERS = """
[all.hosts.engine]
ansible_connection = "docker"
"""

OPTIONS = """
[all.vars.harness_deployer_config]
links = "{links}"
"""


def heights(journal: Path) -> list[tuple[int, int]]:
    """The greatest height that was seen when each fault was proven, and when it was about to be healed."""
    found: list[tuple[int, int]] = []
    height = before = 0
    for event in map(json.loads, journal.read_text().splitlines()):
        if event["kind"] == "block-observed":
            height = max(height, event["height"])
        elif event["kind"] == "fault-staged" and event["stage"] == "proven":
            before = height
        elif event["kind"] == "fault-staged" and event["stage"] == "healing":
            found.append((before, height))
    return found


@pytest.fixture(autouse=True)
def _cometbft() -> None:
    """It has been built (python -m harness_cometbft.install)."""
    try:
        binary.find()
    except UsageError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.mark.parametrize(("links", "machines"), [("nft", 4), ("relay", 2)])
async def test_two_and_two_stop_and_three_and_one_go_on(
    tmp_path: Path, ssh_hosts: Any, links: str, machines: int
) -> None:
    with ssh_hosts.lease(machines) as hosts:
        await parted(tmp_path, inventory(hosts), links)


@pytest.mark.usefixtures("docker_engine")
@pytest.mark.parametrize("links", ["nft", "relay"])
async def test_so_they_do_in_containers(tmp_path: Path, links: str) -> None:
    await parted(tmp_path, CONTAINERS, links)


async def parted(folder: Path, hosts: str, links: str) -> None:
    (folder / "inventory.toml").write_text(hosts + OPTIONS.format(links=links))
    finished = await run_playbook(PLAYBOOK, folder / "runs", inventory=Inventory.read(folder / "inventory.toml"))
    (before, stopped), (there, gone_on) = heights(finished.directory.journal)
    assert stopped - before <= 1, "it makes blocks without a majority"  # one was on its way
    assert there > stopped + 3, "it did not make blocks after healing"
    assert gone_on - there >= 3, "it does not make blocks with a majority"
    assert finished.verdict_of("convergence") == finished.verdict_of("no-forks") == "pass"
    assert finished.outcome.exit_code == 0
