"""What is done to nodes that somebody else runs, and that it is undone: by pid files, on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.api import InfrastructureError, NodeState, TeardownError, Unreachable
from harness.engine import adopted
from harness.engine.foreign import PidFileProcess, Seen
from harness.engine.plan import resolve_file
from harness.engine.recorder import Recorder
from harness.engine.runner import Runner
from harness.engine.session import session
from harness.engine.target import choose_target
from harness.errors import ExitCode
from harness.plugin.registry import Registry
from harness.spec.inventory import Inventory
from harness.spec.playbook import PlaybookFile
from harness.spec.toml_document import TomlDocument
from harness.testing import run_playbook
from harness.testing.waiting import eventually
from harness_process.deployer import ProcessDeployer

pytestmark = [pytest.mark.anyio, pytest.mark.real]

PLAYBOOK = """
name = "x"
chain = "devnet"
duration = "10 blocks"
[topology]
layout = "full"
validators = 2
[[expectations]]
use = "nodes-healthy"
"""
ROLES = {"validator": 2}


@asynccontextmanager
async def runner_on(inventory: Inventory, runs: Path) -> AsyncIterator[tuple[Runner, Recorder]]:
    plan = resolve_file(PlaybookFile(TomlDocument.parse(PLAYBOOK, "playbook.toml")), Registry())[0]
    target = choose_target(Registry(), inventory)
    recorder = Recorder.create(runs, plan, target)
    async with session(plan, target, recorder) as runner:
        yield runner, recorder


async def test_one_that_was_paused_runs_again_at_the_end_whatever_happened(
    testnet: Callable[..., Any], tmp_path: Path
) -> None:
    net = testnet(ROLES)
    async with runner_on(net.by_pid_files(control=True), tmp_path / "runs") as (runner, _):
        node, other = runner.nodes["validator-1"], runner.nodes["validator-0"]
        assert node.adopted
        assert (node.pid, node.state, await node.process_state()) == (
            net.pids["validator-1"], NodeState.RUNNING, "running",
        )  # fmt: skip
        await node.pause()
        assert (node.state, await node.process_state()) == (NodeState.PAUSED, "paused")
        with pytest.raises(Unreachable):
            await node.new_client().head()
        await node.resume()
        await node.wait_ready(10)
        assert await node.process_state() == "running"
        await node.pause()
        with pytest.raises(InfrastructureError, match="is adopted, and the inventory does not allow node-control"):
            await other.stop()
        with pytest.raises(InfrastructureError, match="the inventory does not allow node-control"):
            await other.start()
    assert net.all_there()


async def test_nothing_is_done_to_one_that_is_only_looked_at(testnet: Callable[..., Any], tmp_path: Path) -> None:
    net = testnet(ROLES)
    async with runner_on(net.by_pid_files(), tmp_path / "runs") as (runner, _):
        for refused in (runner.nodes["validator-0"].pause, runner.nodes["validator-0"].kill):
            with pytest.raises(InfrastructureError, match="the inventory does not allow"):
                await refused()
    assert net.all_there()


async def test_a_playbooks_commands_are_run_on_the_machines_of_controlled_ones(
    testnet: Callable[..., Any], tmp_path: Path
) -> None:
    net = testnet(ROLES)
    marker = tmp_path / "marker"
    steps = f"""
[[steps]]
at = "200ms"
targets = "validator-1"
run = ["sh", "-c", "echo $PPID >> {marker}; echo done"]
[[steps]]
at = "300ms"
targets = "all"
fault = "cpu-stress"
workers = 1
hold = "500ms"
"""
    finished = await run_playbook(PLAYBOOK + steps, tmp_path / "runs", inventory=net.by_pid_files(control=True))
    assert finished.outcome.exit_code is ExitCode.PASS, finished.outcome.reason
    assert marker.read_text().count("\n") == 1
    assert net.all_there()


async def test_a_signal_reaches_the_process_that_is_meant_or_none(
    testnet: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the look the process ended, and its pid was given to another."""
    net = testnet(ROLES)
    async with runner_on(net.by_pid_files(control=True), tmp_path / "runs") as (runner, _):
        process = PidFileProcess(runner.nodes["validator-0"].machine, str(net.pid_file("validator-0")))
        seen = await process.look()

        async def as_seen_then() -> Seen:
            return replace(seen, start="12345")

        monkeypatch.setattr(process, "look", as_seen_then)
        with pytest.raises(InfrastructureError, match=f"process {seen.pid} is another one now"):
            await process.suspend()
    assert net.all_there()


async def test_an_end_that_nobody_asked_for_is_noticed(testnet: Callable[..., Any], tmp_path: Path) -> None:
    net = testnet(ROLES)
    async with runner_on(net.by_pid_files(), tmp_path / "runs") as (runner, _):
        node = runner.nodes["validator-0"]
        net.processes["validator-0"].kill()
        net.processes["validator-0"].wait()
        await node.sync_log()  # whoever judges asks for a look, without waiting for the next
        assert (node.state, node.pid) == (NodeState.EXITED, None)
        net.start("validator-0")  # by whoever runs it
        await node.sync_log()
        assert (node.state, node.pid) == (NodeState.RUNNING, net.pids["validator-0"])
        assert [expected for _, expected in node.exits] == [False]


async def test_it_is_noticed_by_and_by_too(
    testnet: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adopted, "LOOK_EVERY", 0.1)
    net = testnet(ROLES)
    async with runner_on(net.by_pid_files(), tmp_path / "runs") as (_, recorder):
        net.processes["validator-0"].kill()
        net.processes["validator-0"].wait()

        async def seen() -> bool:
            return recorder.state.nodes["validator-0"].exits == 1

        await eventually(seen)


async def test_logs_begin_with_the_run_and_hold_all_of_it(testnet: Callable[..., Any], tmp_path: Path) -> None:
    net = testnet(ROLES)
    with net.log("validator-0").open("ab") as log:
        log.write(b"Traceback (most recent call last):\nof long ago\n")
    inventory = net.by_pid_files()
    async with runner_on(inventory, tmp_path / "runs") as (runner, _):
        node = runner.nodes["validator-0"]
        with net.log("validator-0").open("ab") as log:
            log.write(b"\xff\x00 said now\n")
        await node.sync_log()
        kept = node.log_path.read_bytes()
        assert b"of long ago" not in kept
        assert b"\xff\x00 said now\n" in kept
        before = len(kept)
        net.log("validator-0").rename(tmp_path / "rotated")
        net.log("validator-0").write_bytes(b"in the new one\n")
        with pytest.raises(InfrastructureError, match="was rotated or cut"):
            await node.sync_log()
        assert node.log_path.read_bytes()[before:].endswith(b"in the new one\n")


async def test_a_panic_in_the_log_fails_and_a_log_that_is_not_known_leaves_it_open(
    testnet: Callable[..., Any], tmp_path: Path
) -> None:
    net = testnet(ROLES)

    def panic(recorded: Any) -> None:
        if getattr(recorded.event, "phase", "") == "drive":
            with net.log("validator-1").open("ab") as log:
                log.write(b"Fatal Python error: of now\n")

    finished = await run_playbook(PLAYBOOK, tmp_path / "runs", inventory=net.by_pid_files(), on_event=panic)
    assert finished.outcome.exit_code is ExitCode.FAIL
    assert "validator-1 logged" in finished.state.expectations["nodes-healthy"].measured
    finished = await run_playbook(PLAYBOOK, tmp_path / "runs", inventory=net.by_pid_files(logs=False))
    assert finished.verdict_of("nodes-healthy") == "unknown"
    assert "nothing is known of the log of validator-0" in finished.state.expectations["nodes-healthy"].measured


PAUSER = """
import sys
from pathlib import Path

import anyio

from harness.engine.plan import resolve_file
from harness.engine.recorder import Recorder
from harness.engine.session import session
from harness.engine.target import choose_target
from harness.plugin.registry import Registry
from harness.spec.inventory import Inventory
from harness.spec.playbook import PlaybookFile
from harness.spec.toml_document import TomlDocument


async def main(playbook, inventory, runs):
    plan = resolve_file(PlaybookFile(TomlDocument.parse(playbook, "playbook.toml")), Registry())[0]
    target = choose_target(Registry(), Inventory.read(Path(inventory)))
    async with session(plan, target, Recorder.create(Path(runs), plan, target)) as runner:
        await runner.nodes["validator-1"].pause()
        print("paused", flush=True)
        await anyio.sleep_forever()


anyio.run(main, *sys.argv[1:])
"""


async def test_when_the_controller_is_killed_what_it_paused_runs_again(
    testnet: Callable[..., Any], tmp_path: Path
) -> None:
    net = testnet(ROLES)
    net.by_pid_files(control=True)
    argv = [sys.executable, "-c", PAUSER, PLAYBOOK, str(net.folder / "inventory.toml"), str(tmp_path / "runs")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as controller:
        assert controller.stdout is not None
        assert controller.stdout.readline() == b"paused\n"
        assert not net.all_there()
        controller.kill()

    async def again() -> bool:
        return bool(net.all_there())

    await eventually(again)


async def test_when_the_agent_was_killed_too_clean_undoes_what_is_written(tmp_path: Path) -> None:
    undo = {"argv": ["touch", str(tmp_path / "undone")], "become": True}
    ledger = tmp_path / "undo.jsonl"
    ledger.write_text(json.dumps({"entry": "adopted x", "what": "resume x", "undo": [undo]}) + "\n")
    deployer = ProcessDeployer(ProcessDeployer.Config())
    assert await deployer.clean("r", tmp_path) == ["undone: resume x"]
    assert (tmp_path / "undone").exists()
    assert await deployer.clean("r", tmp_path) == []
    with ledger.open("a") as file:
        file.write(json.dumps({"entry": "y", "what": "y", "undo": [{"argv": ["false"], "become": True}]}) + "\n")
    with pytest.raises(TeardownError, match="y: not undone: false ended with status 1"):
        await deployer.clean("r", tmp_path)
