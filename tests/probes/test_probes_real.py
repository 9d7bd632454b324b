"""The expectations on real devnet nodes, and runs that they end before their time."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.record.journal import read_journal
from harness.testing import Finished, run_playbook

pytestmark = [pytest.mark.anyio, pytest.mark.real]

PLAYBOOK = """
name = "probed"
duration = "{duration}"
seed = 11
budget = "unlimited"
chain = {{ use = "devnet", slot_duration = "80ms", active_slot_coeff = 0.5, security_param = 4{chain} }}
[topology]
layout = "full"
validators = 3
{rest}
"""
KILL = """
[[steps]]
at = "1s"
fault = "kill"
targets = "validator-1"
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("HARNESS_DEVNET_MISBEHAVE", "allowed")

    async def run(rest: str, *, duration: str = "3s", chain: str = "") -> Finished:
        return await run_playbook(PLAYBOOK.format(rest=rest, duration=duration, chain=chain), tmp_path / "runs")

    return run


def use(name: str, **options: Any) -> str:
    lines = [f"{key} = {json.dumps(value)}" for key, value in options.items()]
    return "\n".join(["[[expectations]]", f'use = "{name}"', *lines, ""])


def drive(finished: Finished) -> float:
    """Seconds that it took."""
    ended = [r.event for r in read_journal(finished.directory.journal) if type(r.event).__name__ == "PhaseEnded"]
    return float(next(event.seconds for event in ended if event.phase == "drive"))


async def test_a_healthy_network_passes_them(run: Any) -> None:
    code = "import json, os; print(len(json.loads(os.environ['HARNESS_ENDPOINTS'])), os.environ.get('HARNESS_NODE'))"
    finished = await run(
        use("http-slo", url="http://{endpoint}/head", interval="200ms", availability=0.9, continuous=True)
        + use("log-pattern", forbid=["Traceback"], continuous=True)
        + use("command", argv=[sys.executable, "-c", code], stdout="^3 None", continuous=True, every="1s")
        + use("command", on="nodes", argv=[sys.executable, "-c", code], stdout="^3 validator-")
    )
    assert finished.outcome.reason == "all 4 expectations hold", finished.outcome
    assert finished.state.expectations["http-slo"].evidence["probes"] >= 20


async def test_a_node_that_panics_is_seen_in_its_log(run: Any) -> None:
    finished = await run(
        use("log-pattern", forbid=["Traceback"]) + use("log-pattern", forbid=["Traceback"], nodes="validator-0"),
        chain=", misbehave = { validator-2 = 'panic@10' }",
    )
    assert (finished.verdict_of("log-pattern"), finished.verdict_of("log-pattern#2")) == ("fail", "pass")
    (found,) = finished.state.expectations["log-pattern"].evidence["forbidden"]
    assert found["node"] == "validator-2"
    assert "Traceback" in finished.directory.log("validator-2").read_text().splitlines()[found["line"] - 1]


async def test_a_panic_ends_the_run(run: Any) -> None:
    finished = await run(
        use("log-pattern", forbid=["Traceback"], abort=True, every="300ms"),
        duration="10m",
        chain=", misbehave = { validator-2 = 'panic@10' }",
    )
    assert finished.outcome.reason.startswith("ended early by log-pattern; log-pattern: validator-2, line ")
    assert (finished.outcome.verdict, finished.outcome.status) == ("fail", "done")
    assert drive(finished) < 120


async def test_a_node_that_was_killed_is_not_available(run: Any) -> None:
    slo = {"url": "http://{endpoint}/status", "interval": "100ms", "availability": 0.9}
    finished = await run(
        KILL + use("http-slo", **slo) + use("http-slo", calm=True, recovery="2s", **slo), duration="4s"
    )
    assert finished.verdict_of("http-slo") == "fail", finished.outcome
    evidence = finished.state.expectations["http-slo"].evidence
    assert evidence["targets"]["validator-1"]["failures"]
    assert not evidence["targets"]["validator-0"]["failures"]
    assert evidence["disturbed"]["probes"] > 0
    calm = finished.state.expectations["http-slo#2"]
    assert calm.evidence["probes"] > 0 and calm.evidence["failed"] == 0, calm
    late = calm.measured.startswith("the prober itself was late")  # on a machine that is busy otherwise
    assert calm.verdict == ("unknown" if late else "pass"), calm


async def test_a_stall_ends_the_run_while_it_lasts(run: Any) -> None:
    switches = ", ".join(f"validator-{number} = 'silent@8'" for number in range(3))
    finished = await run(
        use("consensus-liveness", abort=True, max_stall="4s"),
        duration="10m",
        chain=f", misbehave = {{ {switches} }}",
    )
    assert finished.outcome.reason.startswith("ended early by consensus-liveness"), finished.outcome
    seen = [r.event for r in read_journal(finished.directory.journal) if type(r.event).__name__ == "ViolationSeen"]
    assert seen[0].message.startswith("network: stood still for ")
    assert drive(finished) < 120


async def test_a_node_that_does_not_answer_ends_the_run(run: Any) -> None:
    slo = {"url": "http://{endpoint}/status", "interval": "200ms", "availability": 0.9999}
    finished = await run(
        use("http-slo", continuous=True, abort=True, **slo),
        duration="10m",
        chain=", misbehave = { validator-2 = 'mute@30' }",
    )
    assert finished.outcome.reason.startswith("ended early by http-slo; http-slo: "), finished.outcome
    assert (finished.outcome.verdict, finished.outcome.status) == ("fail", "done")
    targets = finished.state.expectations["http-slo"].evidence["targets"]
    assert [name for name, told in targets.items() if told["failures"]] == ["validator-2"]
    assert drive(finished) < 120


@pytest.mark.parametrize(("limit", "verdict"), [(30, "fail"), (10_000, "pass")])
async def test_what_a_prometheus_says_of_a_node_ends_the_run(run: Any, server: Any, limit: int, verdict: str) -> None:
    """The server stands in for a Prometheus: its one sample is the height of validator-0, whose address a command of
    the same run tells it."""
    api: list[str] = []

    def answer(path: str, form: dict[str, str], headers: Any) -> tuple[int, bytes]:
        if path.startswith("/here/"):
            api.append(path.removeprefix("/here/"))
        if not api:
            return 503, b"nothing scraped yet"
        height = httpx.get(f"http://{api[0]}/head", trust_env=False).json()["height"]
        sample = {"metric": {"__name__": "height", "instance": "validator-0"}, "value": [1.0, str(height)]}
        data = {"resultType": "vector", "result": [sample]}
        return 200, json.dumps({"status": "success", "data": data}).encode()

    server.answer = answer
    code = (
        "import json, os, urllib.request as u\n"
        f"u.urlopen('{server.url}/here/' + json.loads(os.environ['HARNESS_ENDPOINTS'])['validator-0'])"
    )
    finished = await run(
        use("command", argv=[sys.executable, "-c", code], continuous=True, every="1s")
        + use("promql", url=server.url, query="height", op="<", value=limit, abort=True, every="300ms"),
        duration="10m" if verdict == "fail" else "6s",
    )
    assert finished.verdict_of("promql") == verdict, finished.outcome
    assert finished.outcome.reason.startswith("ended early by promql; promql: ") == (verdict == "fail")
    assert drive(finished) < 120


async def test_a_command_of_ones_own_ends_the_run(run: Any) -> None:
    code = (
        "import json, os, sys, urllib.request as u\n"
        "api = json.loads(os.environ['HARNESS_ENDPOINTS'])['validator-0']\n"
        "sys.exit(json.load(u.urlopen(f'http://{api}/head'))['height'] > 12)"
    )
    finished = await run(use("command", argv=[sys.executable, "-c", code], abort=True, every="300ms"), duration="10m")
    assert finished.outcome.reason.startswith("ended early by command; command: controller: exit status 1")
    assert drive(finished) < 120
