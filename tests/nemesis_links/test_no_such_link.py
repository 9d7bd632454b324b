"""What would disturb no link of the network's layout is told in plan."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.engine.foresight import refused
from harness.engine.plan import resolve_file
from harness.errors import ExitCode
from harness.plugin.registry import Registry
from harness.spec.playbook import PlaybookFile
from harness.spec.toml_document import TomlDocument
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
CHAOS = '[[workloads]]\nuse = "chaos.{}"\nmin_delay = "1s"\nmax_delay = "2s"\n'
OUTER = 'from = "validator-1"\nto = "validator-2"\n'


@pytest.mark.parametrize(
    "rest",
    [
        STEP.format("block_peer", OUTER),
        STEP.format("block_peer", 'targets = "validator-1,validator-2"'),
        STEP.format("partition", 'grudge = { "validator-1" = ["validator-2"] }'),
        CHAOS.format("block_peer") + OUTER,
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


ZONES = 'matrix = { eu = { us = "9ms" } }\nzones = { eu = "validator-1", us = "validator-2" }\n'
ALONE = PLAYBOOK.replace("validators = 4", "validators = 1")


@pytest.mark.parametrize(
    ("head", "rest", "told"),
    [
        (PLAYBOOK, STEP.format("latency", ZONES), "eu to us"),
        (PLAYBOOK, CHAOS.format("latency") + ZONES, "eu to us"),
        (
            PLAYBOOK,
            CHAOS.format("mix") + f"faults = [{{ use = 'latency', {', '.join(ZONES.splitlines())} }}]",
            "eu to us",
        ),
        (ALONE, STEP.format("latency", 'delay = "9ms"'), "traffic of validator-0"),
        (ALONE, STEP.format("loss", "share = 0.1"), "traffic of validator-0"),
        (ALONE, STEP.format("bandwidth", 'rate = "1MB"'), "traffic of validator-0"),
        (ALONE, CHAOS.format("bandwidth") + 'rate = "1MB"', "traffic of validator-0"),
    ],
)
async def test_what_disturbs_no_link_is_told_in_plan(tmp_path: Path, head: str, rest: str, told: str) -> None:
    finished = await run_playbook(head + rest, tmp_path, Registry())
    assert finished.outcome.exit_code is ExitCode.USAGE
    assert f"no link of this network carries what it is to disturb ({told})" in finished.outcome.reason
    assert "unlimited" not in finished.outcome.reason and "heal that" not in finished.outcome.reason
    line = 15 if "chaos.mix" in rest else 11  # a mix tells at the fault of it that changes nothing
    assert f"playbook.toml:{line}:" in finished.outcome.reason


@pytest.mark.parametrize("form", [STEP, CHAOS], ids=["step", "nemesis"])
def test_what_disturbs_some_link_is_planned(form: str) -> None:
    """The middle of the star has a link with every other node."""
    zones = ZONES.replace("validator-1", "validator-[01]")
    rest = form.format("latency", zones) if form is STEP else form.format("latency") + zones
    (plan,) = resolve_file(PlaybookFile(TomlDocument.parse(PLAYBOOK + rest, "playbook.toml")), Registry())
    assert refused(plan) == []
