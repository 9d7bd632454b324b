"""Channel operations and blobs by senders of their own, on real networks: every one of them is accounted for."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from harness.api import Verdict
from harness.testing import Finished, run_playbook

pytestmark = [pytest.mark.anyio, pytest.mark.real]

NETWORK = """
name = "data"
duration = "{duration}"
seed = 5
chain = {{ use = "devnet", slot_duration = "200ms", active_slot_coeff = 0.5 }}
[topology]
layout = "full"
validators = 3
executors = 2
[[workloads]]
use = "da"
{options}
{rest}
"""
OUTCOMES = ("accepted", "rejected", "dropped", "failed", "timed_out", "unresolved")


async def run(tmp_path: Path, options: str, rest: str = "", duration: str = "6s") -> Finished:
    return await run_playbook(NETWORK.format(options=options, rest=rest, duration=duration), tmp_path / "runs")


def accounts(finished: Finished) -> dict[str, dict[str, Any]]:
    """Of both kinds, of which both sums hold."""
    found: dict[str, dict[str, Any]] = finished.state.expectations["da-availability"].evidence
    kinds = {name: found[name] for name in ("da.channel", "da.blob") if name in found}
    for counts in kinds.values():
        assert counts["offered"] == sum(counts[name] for name in OUTCOMES), counts
        assert counts["accepted"] == sum(counts[name] for name in ("included", "unknown", "lost", "pending")), counts
    return kinds


async def test_all_is_sent_included_and_read_back(tmp_path: Path) -> None:
    finished = await run(tmp_path, 'channel_rate = "20/s"\nblob_rate = "10/s"\nblob_size = "20KiB"\nsenders = 2')
    assert finished.outcome.verdict is Verdict.PASS, finished.outcome
    kinds = accounts(finished)
    assert kinds["da.channel"]["offered"] == kinds["da.channel"]["included"] == 120
    assert kinds["da.blob"]["offered"] == kinds["da.blob"]["included"] == 60
    assert finished.state.workloads["da.blob"].figures["verified"] == 60
    with sqlite3.connect(finished.directory.samples) as samples:
        fired = dict(samples.execute("SELECT tracker, sum(offered) FROM load GROUP BY tracker"))
    assert fired == {"da.channel": 120, "da.blob": 60}


async def test_with_a_node_killed_in_the_middle_every_one_is_accounted_for(tmp_path: Path) -> None:
    steps = (
        '[[workloads]]\nuse = "chaos.kill"\ntargets = "executor"\nmin_delay = "1s"\nmax_delay = "2s"\nduration = "1s"\n'
    )
    finished = await run(tmp_path, 'channel_rate = "30/s"\nblob_rate = "20/s"', steps, duration="10s")
    kinds = accounts(finished)
    assert kinds["da.channel"]["offered"] == 300
    assert kinds["da.blob"]["offered"] == 200
    assert kinds["da.blob"]["accepted"] > 150


async def test_large_blobs_are_not_all_made_ahead(tmp_path: Path) -> None:
    """Prepared, in flight and on their way to the sender: what there may be of them is counted in bytes."""
    finished = await run(tmp_path, 'channel_rate = "0/s"\nblob_rate = "5/s"\nblob_size = "2MiB"', duration="4s")
    kinds = accounts(finished)
    assert kinds["da.blob"]["offered"] == 20
    assert kinds["da.blob"]["sender"]["memory_bytes"] < 300 << 20


async def test_only_one_kind_may_be_asked_for(tmp_path: Path) -> None:
    finished = await run(tmp_path, 'channel_rate = "10/s"\nblob_rate = "0/s"', duration="4s")
    kinds = accounts(finished)
    assert kinds["da.channel"]["offered"] == 40
    assert kinds.get("da.blob", {}).get("offered", 0) == 0
