"""What goes wrong with the run itself: told as what it is, bounded in time, and never at the cost of the rest."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import Any

import anyio
import pytest

from harness.api import Exit
from harness.clock import SystemClock
from harness.engine.tasks import all_of, as_harness_error, plain
from harness.errors import CommandTimeout, ExitCode, HarnessError, InfrastructureError, Problem, SpecError, UsageError
from harness.record.events import ExpectationJudged, FaultStaged, PhaseEnded, PhaseStarted, Recorded, RunStarted
from harness.record.journal import read_journal
from harness.testing import FakeWorld
from harness.testing.fakes import FakeClient

pytestmark = pytest.mark.anyio

SAY = '[[expectations]]\nuse = "say"\n'
WAIT = '[[workloads]]\nuse = "do"\nwhat = "wait"\n'


def events(finished: Any, kind: str) -> list[Any]:
    return [r.event for r in read_journal(finished.directory.journal) if type(r.event).__name__ == kind]


def interrupt_at(kind: type, times: int = 1, **fields: str) -> Any:
    """A callback that sends SIGINT to this process at the first such event, and again at each that follows it."""
    state = {"left": 0}

    def callback(recorded: Recorded) -> None:
        if isinstance(recorded.event, kind) and all(getattr(recorded.event, k) == v for k, v in fields.items()):
            state["left"] = times
        if state["left"]:
            state["left"] -= 1
            os.kill(os.getpid(), signal.SIGINT)

    return callback


async def test_a_lost_supervisor_is_infrastructure_not_the_networks_failure(run_fake: Any) -> None:
    ids: list[str] = []

    def lose(recorded: Recorded) -> None:
        if isinstance(recorded.event, RunStarted):
            ids.append(recorded.event.run_id)
        if isinstance(recorded.event, PhaseStarted) and recorded.event.phase == "drive":
            for service in FakeWorld.of(ids[0]).services.values():
                service.end(Exit(None, None, SystemClock().wall()))

    finished = await run_fake(WAIT + SAY, on_event=lose)
    assert finished.outcome.exit_code is ExitCode.INFRASTRUCTURE
    assert "fake lost hold of validator-0" in finished.outcome.reason
    assert finished.verdict_of("say") == "pass"  # it was asked still


async def test_a_supervisor_that_is_lost_while_nodes_start_is_named(run_fake: Any) -> None:
    ids: list[str] = []

    def lose(recorded: Recorded) -> None:
        if isinstance(recorded.event, RunStarted):
            ids.append(recorded.event.run_id)
        if isinstance(recorded.event, PhaseStarted) and recorded.event.phase == "ready":
            FakeWorld.of(ids[0]).services["validator-1"].end(Exit(None, None, SystemClock().wall()))

    finished = await run_fake(SAY, chain='never_answer = ["validator-1"]', ready="10s", on_event=lose)
    assert finished.outcome.exit_code is ExitCode.INFRASTRUCTURE
    assert "validator-1 was starting when fake lost hold of it" in finished.outcome.reason
    assert "never started" not in finished.outcome.reason


async def test_a_violation_counts_whatever_evaluate_says(run_fake: Any) -> None:
    finished = await run_fake('[[expectations]]\nuse = "crier"\n')
    assert (finished.outcome.exit_code, finished.verdict_of("crier")) == (ExitCode.FAIL, "fail")
    assert "cried" in finished.state.expectations["crier"].measured


async def test_a_check_that_trips_over_a_block_is_unknown_and_costs_no_other_its_blocks(run_fake: Any) -> None:
    finished = await run_fake('[[expectations]]\nuse = "clumsy"\n[[expectations]]\nuse = "alarm"\n')
    assert (finished.verdict_of("clumsy"), finished.verdict_of("alarm")) == ("unknown", "fail")


async def test_a_failure_that_was_judged_survives_an_interrupt(run_fake: Any) -> None:
    finished = await run_fake(
        f'{SAY}verdict = "fail"\n{SAY}wait = true\n', on_event=interrupt_at(ExpectationJudged, expectation="say")
    )
    assert (finished.outcome.exit_code, finished.outcome.verdict) == (ExitCode.INTERRUPTED, "fail")


async def test_a_node_cannot_be_taken_down_twice_at_once(run_fake: Any) -> None:
    finished = await run_fake('[[workloads]]\nuse = "hold"\ntwice = true\n' + SAY)
    assert finished.outcome.exit_code is ExitCode.INFRASTRUCTURE
    assert "sticky of validator-0 is not allowed: validator-0 is out of consensus already" in finished.outcome.reason
    assert [e.stage for e in events(finished, "FaultStaged")][-1] == "healed"  # the first one


async def test_a_fault_whose_healing_crashes_is_not_healed(run_fake: Any) -> None:
    finished = await run_fake('[[workloads]]\nuse = "hold"\nheal = "crash"\n' + SAY)
    assert finished.outcome.exit_code is ExitCode.INFRASTRUCTURE
    assert "sticky of validator-0 was not healed: ValueError: cannot heal" in finished.outcome.reason


async def test_a_healing_that_never_ends_is_given_up(run_fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.engine.faults.HEAL_WITHIN", 0.1)
    finished = await run_fake('[[workloads]]\nuse = "hold"\nheal = "hang"\n' + SAY)
    assert finished.outcome.exit_code is ExitCode.INFRASTRUCTURE
    assert "was not healed: it took more than 0.1 s" in finished.outcome.reason


async def test_a_second_interrupt_waits_for_no_proof_of_healing(run_fake: Any) -> None:
    playbook = '[[workloads]]\nuse = "hold"\nheal = "slow-proof"\n' + SAY
    finished = await run_fake(playbook, on_event=interrupt_at(FaultStaged, times=2, stage="proven"))
    assert finished.outcome.exit_code is ExitCode.INTERRUPTED
    assert events(finished, "FaultStaged")[-1].error == "nobody waited for the proof"
    assert FakeWorld.of(finished.directory.run_id).torn_down


async def test_a_client_that_does_not_close_holds_nothing_up(run_fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(self: FakeClient) -> None:
        await anyio.sleep_forever()

    monkeypatch.setattr(FakeClient, "aclose", hang)
    monkeypatch.setattr("harness.engine.nodes.CLOSE_WITHIN", 0.05)
    monkeypatch.setattr("harness.observe.feed.CLOSE_TIMEOUT", 0.05)
    finished = await run_fake()
    assert finished.outcome.exit_code is ExitCode.PASS
    assert FakeWorld.of(finished.directory.run_id).torn_down


async def test_the_texts_of_a_group_of_errors_are_told_not_its_class(run_fake: Any) -> None:
    finished = await run_fake('[[workloads]]\nuse = "do"\nwhat = "group"\n' + SAY)
    assert finished.outcome.exit_code is ExitCode.INFRASTRUCTURE
    assert "two" in finished.outcome.reason
    assert "Group" not in finished.outcome.reason


async def test_all_of_tells_everything_that_failed() -> None:
    async def fail(text: str) -> None:
        raise UsageError(text)

    with pytest.raises(UsageError, match="^one\ntwo$"):
        await all_of([lambda: fail("one"), lambda: fail("two")])


async def test_a_defect_matters_more_than_what_it_brings_about() -> None:
    group = ExceptionGroup("", [InfrastructureError("a"), ExceptionGroup("", [KeyError("b"), UsageError("c")])])
    assert isinstance(plain(group), KeyError)
    assert str(plain(ExceptionGroup("", [InfrastructureError("a"), HarnessError("a")]))) == "a"


async def test_an_error_in_other_words_keeps_what_it_carries() -> None:
    timeout = as_harness_error(CommandTimeout("x took too long", b"out", b"err"), "node 1")
    assert isinstance(timeout, CommandTimeout)
    assert (str(timeout), timeout.stdout, timeout.stderr) == ("node 1: x took too long", b"out", b"err")
    problem = Problem("f.toml", 1, 2, "a", "is wrong")
    told = plain(ExceptionGroup("", [SpecError([problem]), UsageError("b")]))
    assert isinstance(told, SpecError)
    assert (str(told), told.problems) == ("f.toml:1:2: a: is wrong\nb", (problem,))


async def test_a_result_that_cannot_be_written_is_told(run_fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("harness.engine.recorder.write_result", refuse)
    finished = await run_fake()
    assert finished.outcome.exit_code is ExitCode.INFRASTRUCTURE
    assert "the record is incomplete: OSError: [Errno 28] No space left" in finished.outcome.reason
    assert finished.directory.junit.exists()  # the rest is there


async def test_teardown_is_abandoned_by_the_third_interrupt(run_fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(self: object) -> None:
        await anyio.sleep_forever()

    monkeypatch.setattr("harness.engine.lifecycle.Lifecycle._end_nodes", hang)

    def insist(recorded: Recorded) -> None:
        if isinstance(recorded.event, PhaseStarted) and recorded.event.phase in ("drive", "teardown"):
            os.kill(os.getpid(), signal.SIGINT)
        if isinstance(recorded.event, PhaseStarted) and recorded.event.phase == "teardown":
            asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGINT)

    finished = await run_fake(WAIT + SAY, on_event=insist)
    assert finished.outcome.exit_code is ExitCode.INTERRUPTED
    assert "stopping nodes was abandoned" in events(finished, "PhaseEnded")[-1].error
    assert FakeWorld.of(finished.directory.run_id).torn_down  # the steps after it were gone through


async def test_who_is_interrupted_at_the_end_of_teardown_has_a_result(
    run_fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something of the run still ends when all else is gone."""

    async def slow_to_end(self: object, shared: object, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        task_status.started()
        with anyio.CancelScope(shield=True):
            await ended.wait()

    ended = anyio.Event()
    monkeypatch.setattr("harness.engine.lifecycle.Lifecycle._watch_vitals", slow_to_end)

    def interrupt(recorded: Recorded) -> None:
        if isinstance(recorded.event, PhaseEnded) and recorded.event.phase == "teardown":
            os.kill(os.getpid(), signal.SIGTERM)
            asyncio.get_running_loop().call_later(0.3, ended.set)

    finished = await run_fake(on_event=interrupt)
    assert finished.directory.result.exists()
    assert json.loads(finished.directory.result.read_text())["status"] in ("interrupted", "done")


async def test_a_node_killed_because_it_would_not_stop_did_not_end_as_asked(run_fake: Any) -> None:
    finished = await run_fake(chain='deaf = ["validator-0"]')
    ends = {e.node: e.expected for e in events(finished, "NodeChanged") if e.state == "stopped"}
    assert ends == {"validator-0": False, "validator-1": True, "validator-2": True}


async def test_the_record_of_an_interrupted_run_is_whole(run_fake: Any) -> None:
    finished = await run_fake(WAIT + SAY, on_event=interrupt_at(PhaseStarted, phase="drive"))
    assert json.loads(finished.directory.result.read_text())["status"] == "interrupted"
    assert json.loads(finished.directory.result.read_text())["exit_code"] == 130


async def test_a_subscriber_of_the_feed_that_breaks_is_no_pass(run_fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def trip(self: object, seen: object) -> None:
        raise KeyError("tripped")

    monkeypatch.setattr("harness.observe.samples.SampleStore.block", trip)
    finished = await run_fake(WAIT + SAY)
    assert finished.outcome.exit_code is ExitCode.INFRASTRUCTURE
    assert "failed at a block: KeyError: 'tripped'" in finished.outcome.reason
    assert finished.verdict_of("say") == "pass"
