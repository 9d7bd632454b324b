"""Transactions by senders of their own, on real networks: every one of them is accounted for, whatever happens."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest

from harness.api import ExitCode, Verdict
from harness.testing import Finished, run_playbook

pytestmark = [pytest.mark.anyio, pytest.mark.real]

NETWORK = """
name = "thin"
duration = "{duration}"
seed = 5
chain = {{ use = "devnet", slot_duration = "200ms", active_slot_coeff = 0.5 }}
[topology]
layout = "full"
validators = 3
[wallets]
count = 20
[[workloads]]
use = "transactions"
{options}
{rest}
"""


async def run(tmp_path: Path, options: str, rest: str = "", duration: str = "6s") -> Finished:
    return await run_playbook(NETWORK.format(options=options, rest=rest, duration=duration), tmp_path / "runs")


def sums(finished: Finished) -> dict[str, Any]:
    """The account, of which both sums hold."""
    found: dict[str, Any] = finished.state.expectations["transaction-inclusion"].evidence["transactions"]
    outcomes = ("accepted", "rejected", "dropped", "failed", "timed_out", "unresolved")
    assert found["offered"] == sum(found[name] for name in outcomes), found
    assert found["accepted"] == sum(found[name] for name in ("included", "unknown", "lost", "pending")), found
    return found


def balanced(finished: Finished) -> dict[str, Any]:
    """The account, of which both sums hold, and which the samples agree with."""
    found = sums(finished)
    with sqlite3.connect(finished.directory.samples) as samples:
        counted = Counter(dict(samples.execute("SELECT outcome, count(*) FROM submissions GROUP BY outcome")))
        (offered,) = samples.execute("SELECT sum(offered) FROM load").fetchone()
    for name in ("accepted", "rejected", "failed"):
        assert counted[name] == found[name], (counted, found)
    assert offered == found["offered"]
    return found


async def test_all_is_sent_and_included_and_the_balances_are_right(tmp_path: Path) -> None:
    finished = await run(tmp_path, 'rate = "20/s"\nsenders = 2', '[[expectations]]\nuse = "balances-conserved"')
    assert finished.outcome.verdict is Verdict.PASS, finished.outcome
    found = balanced(finished)
    assert found["offered"] == found["accepted"] == found["included"] == 120
    assert found["sender"]["senders"] == 2
    assert found["sender"]["started"] == found["sender"]["completed"] == 120
    assert 0 < found["sender"]["cpu_seconds"] < 6


async def test_with_nodes_killed_in_the_middle_every_one_is_accounted_for(tmp_path: Path) -> None:
    kills = """
    [[workloads]]
    use = "chaos.kill"
    min_delay = "500ms"
    max_delay = "1s"
    target_cooldown = "1s"
    duration = "1s"
    [[expectations]]
    use = "balances-conserved"
    """
    finished = await run(tmp_path, 'rate = "30/s"\nsubmit_timeout = "1s"', kills, "10s")
    found = balanced(finished)
    assert found["offered"] == 300
    assert found["unresolved"] == 0
    assert found["accepted"] > 150
    assert finished.verdict_of("balances-conserved") == Verdict.PASS
    assert len(finished.state.faults) > 3


async def test_after_a_timeout_no_nonce_is_used_for_another_transaction(tmp_path: Path) -> None:
    """A node stands still for longer than an answer is waited for, and then takes what it was sent all the same."""
    pauses = """
    [[workloads]]
    use = "chaos.pause"
    targets = "validator-0"
    min_delay = "500ms"
    max_delay = "500ms"
    target_cooldown = "500ms"
    duration = "600ms"
    """
    text = NETWORK.replace("count = 20", "count = 200")
    text = text.format(options='rate = "120/s"\nsubmit_timeout = "300ms"', rest=pauses, duration="8s")
    found = balanced(await run_playbook(text, tmp_path / "runs"))
    assert found["timed_out"] > 10
    assert found["surprises"] > 5
    assert found["rejected"] <= found["timed_out"] / 10, found["reasons"]
    assert found["lost"] == 0


async def test_few_users_and_a_high_rate_drop_what_no_user_can_send(tmp_path: Path) -> None:
    finished = await run(tmp_path, 'rate = "2000/s"\nusers = 1', duration="3s")
    found = balanced(finished)
    assert found["offered"] == 6000
    assert found["dropped"] > 1000
    assert "dropped: no user was free" in found["reasons"]
    state = finished.state.expectations["transaction-inclusion"]
    assert state.verdict in (Verdict.UNKNOWN, Verdict.FAIL)
    assert state.verdict == Verdict.FAIL or state.measured.startswith("the generator dropped")


async def test_a_network_that_stands_still_delays_no_transaction(tmp_path: Path) -> None:
    """All nodes are suspended for two seconds: what is due meanwhile is sent, and waits for its answer."""
    pause = """
    [[steps]]
    at = "1s"
    fault = "pause"
    targets = "all"
    hold = "2s"
    """
    text = NETWORK.replace("seed = 5", 'seed = 5\nbudget = "unlimited"').replace("count = 20", "count = 400")
    options = 'rate = "100/s"\nmax_in_flight = 400'
    finished = await run_playbook(text.format(options=options, rest=pause, duration="6s"), tmp_path / "runs")
    found = balanced(finished)
    assert found["offered"] == 600
    assert found["dropped"] == 0, found["reasons"]
    assert found["answer_seconds"]["max"] > 1.5


async def test_the_same_seed_sends_the_same_transactions(tmp_path: Path) -> None:
    sent = []
    for number in range(2):
        finished = await run(tmp_path / str(number), 'rate = "20/s"\narrivals = "poisson"', duration="3s")
        with sqlite3.connect(finished.directory.samples) as samples:
            rows = samples.execute("SELECT intended_at, node FROM submissions ORDER BY intended_at").fetchall()
        sent.append([(round(at - rows[0][0], 4), node) for at, node in rows])
    assert sent[0] == sent[1]
    assert len(sent[0]) > 30


@pytest.mark.parametrize(("users", "senders"), [(3, 2), (2, 4)])
async def test_users_that_are_not_shared_out_evenly_starve_no_sender(tmp_path: Path, users: int, senders: int) -> None:
    finished = await run(
        tmp_path, f'rate = "100/s"\nusers = {users}\nsenders = {senders}\nmax_in_flight = 8', duration="14s"
    )
    found = balanced(finished)
    assert found["sender"]["senders"] == min(users, senders)
    assert found["offered"] == 1400
    assert found["sender"]["started"] >= 1380, found


async def test_the_last_figures_of_a_workload_are_those_that_were_judged(tmp_path: Path) -> None:
    """Transactions that get into a block only while they are waited for."""
    text = NETWORK.replace("seed = 5", 'seed = 5\nsettle = "1ms"')
    finished = await run_playbook(text.format(options='rate = "20/s"', rest="", duration="2s"), tmp_path / "runs")
    found, figures = balanced(finished), finished.state.workloads["transactions"].figures
    assert found["included"] > 0
    assert {name: figures[name] for name in ("offered", "accepted", "included")} == {
        name: found[name] for name in ("offered", "accepted", "included")
    }


async def test_what_a_sender_had_sent_that_was_killed_is_no_corruption_of_balances(tmp_path: Path) -> None:
    async def kill_one_when_many_are_sent() -> None:
        def offered() -> int:
            lines = [line for file in tmp_path.rglob("journal.jsonl") for line in file.read_text("utf-8").splitlines()]
            figures = [json.loads(line).get("figures") or {} for line in lines if '"offered"' in line]
            return max((one.get("offered", 0) for one in figures), default=0)

        while offered() < 1000:
            await anyio.sleep(0.1)
        found = subprocess.run(["pgrep", "-P", str(os.getpid()), "-f", "harness.load.worker"], capture_output=True)
        os.kill(int(found.stdout.split()[0]), signal.SIGKILL)

    text = NETWORK.replace("count = 20", "count = 2000").replace("0.5 }}", "0.5, block_txs = 2000 }}")
    judging = '[[expectations]]\nuse = "balances-conserved"'
    text = text.format(options='rate = "1000/s"\nsenders = 2', rest=judging, duration="60s")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(kill_one_when_many_are_sent)
        finished = await run_playbook(text, tmp_path / "runs")
    assert finished.outcome.exit_code == ExitCode.INFRASTRUCTURE
    assert "ended before it was done" in finished.outcome.reason
    found, figures = balanced(finished), finished.state.workloads["transactions"].figures
    assert figures["untold"] > 0
    assert figures["in_flight"] + figures["untold"] == found["unresolved"]
    assert figures["offered"] == found["offered"]
    assert finished.verdict_of("balances-conserved") == Verdict.PASS
