"""A real validator that signs twice, as one does whose key is on two machines: a full node is given its key."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import pytest

from harness.api import Unreachable
from harness.plugin.registry import Registry
from harness.testing import run_playbook

pytestmark = [pytest.mark.anyio, pytest.mark.real]

KEY = "config/priv_validator_key.json"
DEADLINE = 90.0
TWINS = f'''
import dataclasses
from pathlib import PurePosixPath
from harness.api import hookimpl
from harness_cometbft.chain import CometBFT

class Twins(CometBFT):
    """CometBFT where the full node signs with the key of validator-3."""
    name = "twins"

    def network(self, spec):
        network = super().network(spec)
        launch = network.launch

        def with_key(site):
            if site.node.name != "full-0":
                return launch(site)
            other = dataclasses.replace(site, node=spec.topology.node("validator-3"))
            key = next(file for file in launch(other).files if file.path == PurePosixPath("{KEY}"))
            files = tuple(key if file.path == key.path else file for file in launch(site).files)
            return dataclasses.replace(launch(site), files=files)

        network.launch = with_key
        return network

@hookimpl
def harness_chains():
    return [Twins]
'''
PLAYBOOK = """
name = "twins"
duration = "10m"
chain = { use = "twins", timeout_commit = "300ms" }
[topology]
layout = "full"
validators = 4
full = 1
[[expectations]]
use = "safety"
abort = true
"""


async def test_the_chains_own_evidence_says_who_signed_twice(start_network: Callable[..., Any]) -> None:
    real = start_network("full")
    (real.home("full-0") / KEY).write_bytes((real.home("validator-3") / KEY).read_bytes())
    real.start()
    client = real.client("validator-0")
    accused: list[tuple[str, ...]] = []
    try:
        with anyio.fail_after(DEADLINE):
            while not accused:
                try:
                    async with aclosing(client.follow(0)) as headers:
                        async for header in headers:
                            if header.accused:
                                accused.append(header.accused)
                                break
                except Unreachable:
                    await anyio.sleep(0.2)  # not there yet
    finally:
        await client.aclose()
    assert accused == [("validator-3",)]


async def test_safety_fails_by_it_and_ends_the_run(cometbft: Path, tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "twins.py").write_text(TWINS)
    registry = Registry(project_plugins=tmp_path / "plugins")
    finished = await run_playbook(PLAYBOOK, tmp_path / "runs", registry, deployer="process")
    safety = finished.state.expectations["safety"]
    assert safety.verdict == "fail", finished.outcome
    assert "validator-3 signed twice: the evidence is in block" in safety.measured
    assert finished.outcome.reason.startswith("ended early by safety")
