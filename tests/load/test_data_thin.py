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
KILLS = """
[[workloads]]
use = "chaos.kill"
targets = "executor"
min_delay = "1s"
max_delay = "2s"
duration = "1s"
"""
OUTCOMES = ("accepted", "rejected", "dropped", "failed", "timed_out")


async def run(tmp_path: Path, options: str, rest: str = "", duration: str = "6s") -> Finished:
    return await run_playbook(NETWORK.format(options=options, rest=rest, duration=duration), tmp_path / "runs")


def accounts(finished: Finished) -> dict[str, dict[str, Any]]:
    """Of both kinds, of which both sums hold."""
    found: dict[str, dict[str, Any]] = finished.state.expectations["da-availability"].evidence
    kinds = {name: found[name] for name in ("da.channel", "da.blob") if name in found}
    for counts in kinds.values():
        assert counts["unresolved"] == 0, counts
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
    finished = await run(tmp_path, 'channel_rate = "30/s"\nblob_rate = "20/s"', KILLS, duration="10s")
    kinds = accounts(finished)
    assert any(fault.fault == "kill" for fault in finished.state.faults.values())
    assert kinds["da.channel"]["offered"] == 300
    assert kinds["da.blob"]["offered"] == 200
    assert kinds["da.blob"]["accepted"] > 150


async def test_large_blobs_are_not_all_made_ahead(tmp_path: Path) -> None:
    """Prepared, in flight and on their way to the sender: what there may be of them is counted in bytes."""
    finished = await run(tmp_path, 'channel_rate = "0/s"\nblob_rate = "4/s"\nblob_size = "1MiB"', duration="4s")
    kinds = accounts(finished)
    assert kinds["da.blob"]["offered"] == 16
    assert kinds["da.blob"]["accepted"] > 8
    assert kinds["da.blob"]["sender"]["memory_bytes"] < 300 << 20


async def test_the_two_kinds_come_at_moments_of_their_own(tmp_path: Path) -> None:
    options = 'channel_rate = "20/s"\nblob_rate = "20/s"\narrivals = "poisson"\nwarm_up = "1s"'
    finished = await run(tmp_path, options, duration="4s")
    kinds = accounts(finished)
    assert kinds["da.blob"]["left_out_of_latencies"] > 0
    with sqlite3.connect(finished.directory.samples) as samples:
        rows = samples.execute("SELECT tracker, intended_at FROM submissions").fetchall()
        warming = samples.execute(
            "SELECT count(*) FROM submissions WHERE warming AND outcome = 'accepted' AND tracker = 'da.blob'"
        ).fetchone()
    assert warming == (kinds["da.blob"]["left_out_of_latencies"],)
    moments = {kind: {at for tracker, at in rows if tracker == kind} for kind in kinds}
    assert len(moments["da.blob"]) > 40
    assert moments["da.channel"].isdisjoint(moments["da.blob"])


async def test_only_one_kind_may_be_asked_for(tmp_path: Path) -> None:
    finished = await run(tmp_path, 'channel_rate = "10/s"\nblob_rate = "0/s"', duration="4s")
    kinds = accounts(finished)
    assert kinds["da.channel"]["offered"] == 40
    assert kinds.get("da.blob", {}).get("offered", 0) == 0
