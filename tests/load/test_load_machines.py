"""Load from the machines of the inventory's group `load`: over every deployer, and gone with the run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.api import UsageError, Verdict
from harness.cli.plan_view import plan_lines
from harness.engine.outcome import Outcome
from harness.engine.plan import resolve_file
from harness.engine.target import choose_target
from harness.errors import ExitCode, SpecError
from harness.plugin.registry import Registry
from harness.record.events import Note, WorkloadProgress
from harness.record.journal import Recorded, read_journal
from harness.record.summary import summarize
from harness.spec.inventory import Inventory
from harness.spec.playbook import PlaybookFile
from harness.spec.toml_document import TomlDocument
from harness.testing import Finished, run_playbook

pytestmark = pytest.mark.anyio

PLAYBOOK = """
name = "from-afar"
duration = "6s"
seed = 5
chain = { use = "devnet", slot_duration = "200ms", active_slot_coeff = 0.5 }
[topology]
validators = 3
[wallets]
count = 40
[[workloads]]
use = "transactions"
rate = "50/s"
[[workloads]]
use = "http"
url = "http://{endpoint}/status"
method = "GET"
rate = "100/s"
[[expectations]]
use = "balances-conserved"
"""
LIVENESS = """
[[expectations]]
use = "consensus-liveness"
"""
LOCAL = """
[all.vars]
ansible_connection = "local"
[nodes.hosts]
here = {}
[load.hosts]
near = {}
far = {}
"""


def inventory(tmp_path: Path, text: str) -> Inventory:
    path = tmp_path / "inventory.toml"
    path.write_text(text)
    return Inventory.read(path)


def seen_to_be_whole(finished: Finished, machines: list[str]) -> None:
    """Everything was sent, from there, and both sums hold."""
    assert finished.outcome.verdict is not Verdict.FAIL, finished.outcome
    assert finished.outcome.exit_code in (ExitCode.PASS, ExitCode.UNKNOWN), (
        finished.outcome
    )  # a busy machine sends late
    found = finished.state.expectations["transaction-inclusion"].evidence["transactions"]
    outcomes = ("accepted", "rejected", "dropped", "failed", "timed_out", "unresolved")
    assert found["offered"] == sum(found[name] for name in outcomes) == 300, found
    assert found["accepted"] == found["included"] + found["unknown"] + found["lost"] + found["pending"]
    assert found["included"] > 200, found
    assert found["sender"]["machines"] == machines
    assert found["sender"]["senders"] == len(machines)
    sent = finished.state.workloads["transactions"].machines
    assert list(sent) == machines
    assert sum(one["started"] for one in sent.values()) == found["sender"]["started"]
    assert sum(one["lateness"]["n"] for one in sent.values()) == found["generator_lateness_seconds"]["n"]
    (line,) = (note for note in summarize(finished.state).workloads.notes if note.startswith("transactions came from "))
    assert all(f"{machine} ({sent[machine]['started']}, p99/max " in line for machine in machines), line
    of_http = finished.state.expectations["http-load"].evidence
    assert machines == next(sender["machines"] for sender in _find(of_http, "machines"))
    notes = [one.event.message for one in read_journal(finished.directory.journal) if isinstance(one.event, Note)]
    for machine in machines:
        assert any(note.startswith(f"load comes from {machine}: Python 3") for note in notes), notes
        clocks = [note for note in notes if note.startswith("clocks are known to ")]
        assert clocks and all(f"(on {machine})" in note for note in clocks), notes


def _find(value: Any, key: str) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        return ([value] if key in value else []) + [found for one in value.values() for found in _find(one, key)]
    return []


def stations(folder: Path) -> list[str]:
    """Processes of this run's load on this machine."""
    found = subprocess.run(["pgrep", "-f", f"sender.pyz.*|{folder}"], capture_output=True, text=True).stdout.split()
    return [pid for pid in found if str(folder) in Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")]


@pytest.mark.real
async def test_on_process(tmp_path: Path) -> None:
    secrets: set[bytes] = set()

    def look(recorded: Recorded) -> None:
        if isinstance(recorded.event, WorkloadProgress):
            assert stations(tmp_path)
            secrets.update(path.read_bytes() for path in (tmp_path / "runs").rglob("secret"))

    runs, hosts = tmp_path / "runs", inventory(tmp_path, LOCAL)
    finished = await run_playbook(PLAYBOOK, runs, inventory=hosts, on_event=look)
    seen_to_be_whole(finished, ["near", "far"])
    assert not stations(tmp_path)
    assert len(secrets) == 2
    for path in runs.rglob("*"):
        assert path.is_dir() or not any(secret in path.read_bytes() for secret in secrets), path


@pytest.mark.real
async def test_on_docker(tmp_path: Path, docker_engine: Any) -> None:
    hosts = LOCAL.replace('"local"', '"docker"')
    finished = await run_playbook(PLAYBOOK, tmp_path / "runs", inventory=inventory(tmp_path, hosts))
    seen_to_be_whole(finished, ["near", "far"])
    label = f"label=harness.run={finished.directory.run_id}"
    assert not docker_engine("ps", "-aq", "--filter", label).split()


@pytest.mark.real
async def test_on_ssh(tmp_path: Path, ssh_hosts: Any) -> None:
    import fleet

    with ssh_hosts.lease(3) as hosts:
        text = fleet.inventory(hosts, harness_deployer="ssh")
        nodes, *load = [json.dumps(host.name) for host in hosts]
        text += f"\n[nodes.hosts]\n{nodes} = {{}}\n[load.hosts]\n" + "\n".join(f"{name} = {{}}" for name in load)
        finished = await run_playbook(PLAYBOOK, tmp_path / "runs", inventory=inventory(tmp_path, text))
        seen_to_be_whole(finished, [host.name for host in hosts[1:]])
        for host in hosts:
            assert b"sender.pyz" not in host.exec("ps", "-eo", "args=").stdout


@pytest.mark.real
async def test_a_machine_that_fails_in_the_middle_is_infrastructure_and_named(tmp_path: Path) -> None:
    def kill(recorded: Recorded) -> None:
        if isinstance(recorded.event, WorkloadProgress):
            for pid in stations(tmp_path):
                os.kill(int(pid), signal.SIGKILL)

    finished = await run_playbook(PLAYBOOK, tmp_path / "runs", inventory=inventory(tmp_path, LOCAL), on_event=kill)
    assert finished.outcome.exit_code is ExitCode.INFRASTRUCTURE
    assert "ended before it was done" in told(finished.outcome)
    assert "(on near)" in told(finished.outcome) or "(on far)" in told(finished.outcome)
    found = finished.state.expectations["transaction-inclusion"].evidence["transactions"]
    assert found["offered"] == sum(
        found[name] for name in ("accepted", "rejected", "dropped", "failed", "timed_out", "unresolved")
    )


def told(outcome: Outcome) -> str:
    return str(outcome)


def target_of(tmp_path: Path, hosts: str, limit: str = "") -> Any:
    registry = Registry()
    plan = resolve_file(PlaybookFile(TomlDocument.parse(PLAYBOOK, "playbook.toml")), registry)[0]
    return plan, choose_target(registry, inventory(tmp_path, hosts), limit=limit)


def test_nodes_do_not_go_to_machines_of_load_unless_they_are_told_to(tmp_path: Path) -> None:
    hosts = LOCAL.replace("[nodes.hosts]", "[others.hosts]")
    plan, target = target_of(tmp_path, hosts)
    assert {node.host.name for node in target.place(plan)} == {"here"}
    assert [(node.spec.name, node.host.name) for node in target.senders(plan)] == [
        ("load-1", "near"),
        ("load-2", "far"),
    ]
    plan, target = target_of(tmp_path, LOCAL, limit="here:far")
    assert [node.host.name for node in target.senders(plan)] == ["far"]
    plan, target = target_of(tmp_path, hosts.replace("here = {}", ""))
    with pytest.raises(UsageError, match="no host for role validator"):
        target.place(plan)


def test_without_a_workload_that_sends_no_machine_is_made_ready(tmp_path: Path) -> None:
    plan, target = target_of(tmp_path, LOCAL)
    assert target.senders(plan)
    quiet = resolve_file(
        PlaybookFile(TomlDocument.parse(PLAYBOOK.partition("[[workloads]]")[0] + LIVENESS, "playbook.toml")), Registry()
    )[0]
    assert not target.senders(quiet)


def test_a_machine_of_load_that_is_adopted_is_refused_at_its_place(tmp_path: Path) -> None:
    plan, target = target_of(tmp_path, LOCAL.replace("far = {}", 'far = { manage = "adopt", unit = "x.service" }'))
    with pytest.raises(UsageError, match=r"inventory.toml:8:1: far is in the group \[load\] and has manage"):
        target.senders(plan)


def shown(tmp_path: Path, hosts: str, limit: str = "") -> list[str]:
    plan, target = target_of(tmp_path, hosts, limit)
    return list(plan_lines(plan, target, target.place(plan)))


def test_plan_says_where_load_comes_from_and_when_it_is_from_here_after_all(tmp_path: Path) -> None:
    assert "load comes from near, far" in shown(tmp_path, LOCAL)
    from_here = "load comes from this machine: the group [load] has"
    assert f'{from_here} none within --limit "here"' in shown(tmp_path, LOCAL, limit="here")
    assert f"{from_here} no hosts" in shown(tmp_path, LOCAL.replace("near = {}", "").replace("far = {}", ""))
    assert not any("load comes" in line for line in shown(tmp_path, LOCAL.partition("[load.hosts]")[0]))


def test_plan_says_what_machines_of_load_do_not_send(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any("sent by clients" in line for line in shown(tmp_path, LOCAL))
    monkeypatch.setattr("harness_devnet.network.GenesisNetwork.submission_format", lambda self: None)
    lines = shown(tmp_path, LOCAL)
    (said,) = (line.strip() for line in lines if "sent by clients" in line)
    assert said == "sent by clients on this machine, not from near, far: devnet has no other way"
    of_it = next(number for number, line in enumerate(lines) if line.startswith("  transactions "))
    assert said in lines[of_it + 2]


async def test_a_machine_of_load_that_cannot_be_used_is_told_in_plan(tmp_path: Path) -> None:
    hosts = LOCAL.replace("far = {}", 'far = { ansible_connection = "ssh", harness_deployer = "process" }')
    hosts = hosts.replace("[all.vars]", '[all.vars]\nharness_deployer = "process"')
    plan, target = target_of(tmp_path, hosts)
    with pytest.raises(SpecError, match=r"inventory.toml:9:1: process: host far: it is not this machine"):
        await target.check(plan)
