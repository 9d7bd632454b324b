"""A run's phases, verdicts and exit codes, over fakes."""

from __future__ import annotations

import json
import os
import re
import signal
from typing import Any

import pytest

from harness.errors import ExitCode, SpecError
from harness.record.events import PhaseStarted, Recorded
from harness.record.journal import read_journal
from harness.testing import FakeWorld

pytestmark = pytest.mark.anyio

SAY = '[[expectations]]\nuse = "say"\n'


def do(what: str) -> str:
    return f'[[workloads]]\nuse = "do"\nwhat = "{what}"\n'


def events(finished: Any, kind: str) -> list[Any]:
    recorded = read_journal(finished.directory.journal)
    return [r.event for r in recorded if type(r.event).__name__ == kind]


async def test_a_run_goes_through_its_phases_and_passes(run_fake: Any) -> None:
    finished = await run_fake()
    assert finished.outcome.exit_code is ExitCode.PASS
    assert [e.phase for e in events(finished, "PhaseEnded")] == [
        "deploy", "ready", "capture", "drive", "settle", "evaluate", "teardown",
    ]  # fmt: skip
    assert all(e.ok for e in events(finished, "PhaseEnded"))
    world = FakeWorld.of(finished.directory.run_id)
    assert world.torn_down
    assert {str(s.exit) for s in world.services.values()} == {"killed by SIGTERM"}
    result = json.loads(finished.directory.result.read_text())
    assert (result["verdict"], result["exit_code"]) == ("pass", 0)
    assert finished.directory.junit.exists()


@pytest.mark.parametrize(("verdict", "code"), [("unknown", ExitCode.UNKNOWN), ("fail", ExitCode.FAIL)])
async def test_the_worst_verdict_decides_and_every_expectation_is_asked(
    run_fake: Any, verdict: str, code: ExitCode
) -> None:
    finished = await run_fake(f'{SAY}verdict = "{verdict}"\n{SAY}')
    assert finished.outcome.exit_code is code
    assert (finished.verdict_of("say"), finished.verdict_of("say#2")) == (verdict, "pass")


async def test_a_check_that_crashes_leaves_unknown_and_its_traceback(run_fake: Any) -> None:
    finished = await run_fake(f"{SAY}crash = true\n{SAY}")
    assert finished.outcome.exit_code is ExitCode.UNKNOWN
    assert finished.verdict_of("say#2") == "pass"
    assert "KeyError" in events(finished, "Note")[0].data["traceback"]


@pytest.mark.parametrize("what", ["crash", "fail"])
async def test_a_workload_that_breaks_is_infrastructure_and_the_rest_is_judged_still(run_fake: Any, what: str) -> None:
    finished = await run_fake(do(what) + SAY)
    assert finished.outcome.exit_code is ExitCode.INFRASTRUCTURE
    assert finished.outcome.reason.startswith("do: ")
    assert finished.verdict_of("say") == "pass"
    assert FakeWorld.of(finished.directory.run_id).torn_down


async def test_a_workload_that_does_not_end_is_cut_off_and_told(run_fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.engine.runner.DRIVE_GRACE", 0.05)
    finished = await run_fake(do("hang") + SAY)
    assert finished.outcome.exit_code is ExitCode.INFRASTRUCTURE
    assert "did not end" in finished.outcome.reason


async def test_faults_end_in_their_own_time(run_fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof before healing takes longer than workloads are waited for."""
    monkeypatch.setattr("harness.engine.runner.DRIVE_GRACE", 0.05)
    hold = '[[workloads]]\nuse = "hold"\nheal = "slow"\n'
    finished = await run_fake(hold + SAY, duration="700ms")
    assert finished.outcome.exit_code is ExitCode.PASS, finished.outcome
    assert [e.stage for e in events(finished, "FaultStaged")][-1] == "healed"
    monkeypatch.setattr("harness.engine.runner.FAULTS_GRACE", 0.05)
    finished = await run_fake(hold + SAY, duration="700ms")
    assert "hold did not end within" in finished.outcome.reason


async def test_failing_to_prepare_tears_down(run_fake: Any) -> None:
    finished = await run_fake(do("fail-prepare") + SAY)
    assert finished.outcome.exit_code is ExitCode.INFRASTRUCTURE
    assert FakeWorld.of(finished.directory.run_id).torn_down


async def test_a_deployer_that_fails(run_fake: Any) -> None:
    finished = await run_fake(options={"fail_deploy": True})
    assert (finished.outcome.exit_code, finished.outcome.verdict) == (ExitCode.INFRASTRUCTURE, "unknown")
    assert finished.directory.result.exists()


async def test_what_nodes_need_and_is_not_to_be_had_is_told_in_plan(run_fake: Any) -> None:
    finished = await run_fake(chain="not_installed = true")
    assert finished.outcome.exit_code == ExitCode.USAGE and finished.state.phases == ()
    assert re.search(r":\d+:\d+: chain: the fake node is not to be had for Linux", finished.outcome.reason)


async def test_nodes_that_never_answer(run_fake: Any) -> None:
    finished = await run_fake(chain='never_answer = ["validator-1"]', ready="200ms")
    assert finished.outcome.exit_code is ExitCode.INFRASTRUCTURE
    assert "validator-1 was not ready within 0.2 s" in finished.outcome.reason
    assert FakeWorld.of(finished.directory.run_id).torn_down


async def test_a_network_without_a_first_block(run_fake: Any) -> None:
    finished = await run_fake(chain="stall = { validator-2 = 0 }", ready="300ms")
    assert "no first block at validator-2" in finished.outcome.reason


async def test_teardown_that_leaves_something_has_its_own_result(run_fake: Any) -> None:
    finished = await run_fake(options={"fail_teardown": True})
    assert (finished.outcome.exit_code, finished.outcome.verdict) == (ExitCode.TEARDOWN, "pass")
    assert not events(finished, "PhaseEnded")[-1].ok


async def test_a_broken_run_that_leaves_something_says_both(run_fake: Any) -> None:
    finished = await run_fake(chain='never_answer = ["validator-1"]', ready="200ms", options={"fail_teardown": True})
    assert (finished.outcome.exit_code, finished.outcome.verdict) == (ExitCode.TEARDOWN, "unknown")
    assert "left behind: as asked" in finished.outcome.reason
    assert "validator-1 was not ready" in finished.outcome.reason


async def test_machines_that_are_made_half_and_cannot_be_removed(run_fake: Any) -> None:
    finished = await run_fake(options={"fail_deploy": True, "fail_teardown": True})
    assert (finished.outcome.exit_code, finished.outcome.verdict) == (ExitCode.TEARDOWN, "unknown")
    assert "left behind: as asked" in finished.outcome.reason
    assert "the fake deployer was asked to fail" in finished.outcome.reason


async def test_a_node_deaf_to_its_stop_signal_is_killed(run_fake: Any) -> None:
    finished = await run_fake(chain='deaf = ["validator-0"]')
    assert finished.outcome.exit_code is ExitCode.PASS
    services = FakeWorld.of(finished.directory.run_id).services
    assert str(services["validator-0"].exit) == "killed by SIGKILL"


async def test_an_unexpected_exit_is_journalled_as_such(run_fake: Any) -> None:
    finished = await run_fake(chain="exit_at = { validator-1 = 5 }")
    exits = [e for e in events(finished, "NodeChanged") if e.state == "exited"]
    assert [(e.node, e.why, e.expected) for e in exits] == [("validator-1", "exit status 1", False)]


async def test_a_workload_brings_its_expectations_unless_the_playbook_asks_itself(run_fake: Any) -> None:
    assert (await run_fake(do("bring"))).outcome.exit_code is ExitCode.FAIL
    assert (await run_fake(do("bring") + SAY)).outcome.exit_code is ExitCode.PASS


async def test_a_playbook_that_judges_nothing_is_refused(run_fake: Any) -> None:
    with pytest.raises(SpecError, match="nothing is judged"):
        await run_fake(do("nothing"))


async def test_violations_are_seen_when_they_happen(run_fake: Any) -> None:
    finished = await run_fake('[[expectations]]\nuse = "alarm"')
    assert finished.outcome.exit_code is ExitCode.FAIL
    kinds = [type(r.event).__name__ for r in read_journal(finished.directory.journal)]
    assert kinds.index("ViolationSeen") < kinds.index("ExpectationJudged")


async def test_the_same_seed_draws_the_same(run_fake: Any) -> None:
    drawn = []
    for seed in (7, 7, 8):
        finished = await run_fake(do("draw") + SAY, top=f"seed = {seed}")
        drawn.append([e.data["number"] for e in events(finished, "Note")])
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("phase", ["deploy", "ready", "capture", "drive", "settle"])
async def test_an_interrupt_tears_down_and_writes_the_result(run_fake: Any, phase: str) -> None:
    def interrupt(recorded: Recorded) -> None:
        if isinstance(recorded.event, PhaseStarted) and recorded.event.phase == phase:
            os.kill(os.getpid(), signal.SIGINT)

    finished = await run_fake(do("wait") + SAY, on_event=interrupt)
    assert (finished.outcome.exit_code, finished.outcome.status) == (ExitCode.INTERRUPTED, "interrupted")
    assert finished.outcome.verdict == "unknown"
    assert FakeWorld.of(finished.directory.run_id).torn_down
    assert json.loads(finished.directory.result.read_text())["exit_code"] == 130


async def test_restarts_are_proven_healed_and_budgeted(run_fake: Any) -> None:
    chaos = '[[workloads]]\nuse = "chaos.restart"\nmin_delay = "10ms"\nmax_delay = "20ms"\ntarget_cooldown = "0s"\n'
    finished = await run_fake(chaos + SAY, duration="2s")
    assert finished.outcome.exit_code is ExitCode.PASS
    stages = [e.stage for e in events(finished, "FaultStaged") if e.id == "f1"]
    assert stages == ["intended", "injected", "proven", "healing", "healed"]
    assert len(finished.state.faults) >= 5
    ledger = [json.loads(line) for line in finished.directory.ledger.read_text().splitlines()]
    assert {e["id"] for e in ledger if e["entry"] == "intend"} == {e["id"] for e in ledger if e["entry"] == "healed"}


async def test_the_schedule_of_restarts_follows_from_the_seed(run_fake: Any) -> None:
    chaos = '[[workloads]]\nuse = "chaos.restart"\nmin_delay = "10ms"\nmax_delay = "60ms"\ntarget_cooldown = "0s"\n'
    schedules = []
    for seed in (3, 3, 4):
        finished = await run_fake(chaos + SAY, top=f"seed = {seed}")
        [scheduled] = events(finished, "FaultsScheduled")
        schedules.append([(turn["at"], turn["targets"]) for turn in scheduled.turns])
    assert schedules[0] == schedules[1] != schedules[2] and len(schedules[0]) > 3


async def test_a_fault_that_cannot_be_healed_is_infrastructure(run_fake: Any) -> None:
    # The node's process starts again but its API never comes back.
    chaos = (
        '[[workloads]]\nuse = "chaos.restart"\nmin_delay = "10ms"\nmax_delay = "20ms"\ntargets = "validator-1"\n'
        'target_cooldown = "0s"\nready_timeout = "300ms"\n'
    )
    finished = await run_fake(chaos + SAY, chain='once = ["validator-1"]', top='seed = 7\nbudget = "unlimited"')
    assert finished.outcome.exit_code is ExitCode.INFRASTRUCTURE
    assert "was not healed" in finished.outcome.reason
