"""The timeline of a playbook: `[[steps]]`, over fakes."""

from __future__ import annotations

import re
from typing import Any

import pytest

from harness.engine.plan import resolve_file
from harness.errors import ExitCode, SpecError
from harness.plugin.registry import Registry
from harness.record.events import ExpectationJudged, FaultStaged, PhaseStarted, StepStaged
from harness.record.journal import read_journal
from harness.spec.playbook import load_playbook

pytestmark = pytest.mark.anyio

SAY = '[[expectations]]\nuse = "say"\n'


def events(finished: Any) -> list[Any]:
    kinds = (ExpectationJudged, FaultStaged, StepStaged)
    return [one.event for one in read_journal(finished.directory.journal) if isinstance(one.event, kinds)]


def told(finished: Any) -> list[str]:
    """What happened, in order: steps, and what became of faults."""
    lines = []
    for event in events(finished):
        if isinstance(event, StepStaged):
            lines.append(f"{event.step} {event.stage}")
        elif isinstance(event, FaultStaged) and event.stage in ("proven", "healed"):
            lines.append(f"{event.fault} {event.stage} {','.join(event.targets)}")
        elif isinstance(event, ExpectationJudged):
            lines.append(f"{event.expectation} {event.verdict}")
    return lines


async def test_steps_are_done_one_after_the_other(run_fake: Any) -> None:
    finished = await run_fake(
        SAY
        + """
[[steps]]
at = "20ms"
fault = "sticky"
targets = "validator-1"
hold = "20ms"

[[steps]]
expect = "say"

[[steps]]
after = "10ms"
fault = "sticky"
targets = "validator-2"
name = "stuck"

[[steps]]
at = "block 2"
heal = "stuck"
"""
    )
    assert finished.outcome.exit_code is ExitCode.PASS
    assert told(finished) == [
        "step 1 begun",
        "sticky proven validator-1",
        "sticky healed validator-1",
        "step 1 done",
        "step 2 begun",
        "say#2 pass",
        "step 2 done",
        "step 3 begun",
        "sticky proven validator-2",
        "step 3 done",
        "step 4 begun",
        "sticky healed validator-2",
        "step 4 done",
        "say pass",
    ]


async def test_a_check_that_fails_in_the_middle_fails_the_run_and_lets_it_go_on(run_fake: Any) -> None:
    finished = await run_fake(SAY + '[[steps]]\nexpect = "say"\nverdict = "fail"\n[[steps]]\nexpect = "say"\n')
    assert finished.outcome.exit_code is ExitCode.FAIL
    assert "step 2 done" in told(finished) and "say pass" in told(finished)


async def test_a_fault_without_an_end_is_healed_at_the_end_of_the_drive(run_fake: Any) -> None:
    finished = await run_fake(SAY + '[[steps]]\nfault = "sticky"\ntargets = "validator-0"\n')
    assert finished.outcome.exit_code is ExitCode.PASS
    assert told(finished) == [
        "step 1 begun", "sticky proven validator-0", "step 1 done", "sticky healed validator-0", "say pass",
    ]  # fmt: skip


async def test_steps_whose_time_never_comes_leave_the_verdict_unknown(run_fake: Any) -> None:
    steps = '[[steps]]\nat = "block 1000000"\nexpect = "say"\n[[steps]]\nfault = "sticky"\ntargets = "validator-0"\n'
    finished = await run_fake(SAY + steps)
    assert finished.outcome.exit_code is ExitCode.UNKNOWN
    assert told(finished)[:2] == ["step 1 skipped", "step 2 skipped"]
    judged = next(event for event in events(finished) if getattr(event, "expectation", "") == "steps")
    assert judged.measured == "never came to step 1 (expect say), step 2 (fault sticky)"
    assert judged.source.partition(":")[2]


async def test_a_check_of_a_step_may_end_the_run(run_fake: Any) -> None:
    steps = """
[[steps]]
fault = "sticky"
targets = "validator-0"
[[steps]]
expect = "say"
verdict = "fail"
abort = true
[[steps]]
after = "1h"
expect = "say"
"""
    finished = await run_fake(SAY + steps, duration="2h")
    assert finished.outcome.exit_code is ExitCode.FAIL
    assert finished.outcome.reason.startswith("ended early by say#2")
    lines = told(finished)
    assert lines.index("say#2 fail") < lines.index("sticky healed validator-0") < lines.index("say pass")
    passing = await run_fake(SAY + '[[steps]]\nexpect = "say"\nabort = true\n')
    assert passing.outcome.exit_code is ExitCode.PASS, "it did not fail"


async def test_the_network_is_healed_and_quiet_before_it_is_judged(run_fake: Any) -> None:
    step = '[[steps]]\nfault = "sticky"\ntargets = "validator-1"\n'
    holding = '[[workloads]]\nuse = "hold"\nheal = "second"\n'
    finished = await run_fake(SAY + holding + step, top='budget = "unlimited"')
    assert finished.outcome.exit_code is ExitCode.INFRASTRUCTURE, "that it could not be healed stays told"
    assert "sticky of validator-0 was not healed: ValueError: cannot heal yet" in finished.outcome.reason
    journal = [one.event for one in read_journal(finished.directory.journal)]
    healed = [n for n, e in enumerate(journal) if isinstance(e, FaultStaged) and e.stage == "healed"]
    of = [e.targets for e in journal if isinstance(e, FaultStaged) and e.stage == "healed"]
    assert sorted(of) == [("validator-0",), ("validator-1",)]
    settling = next(n for n, e in enumerate(journal) if isinstance(e, PhaseStarted) and e.phase == "settle")
    judged = next(n for n, e in enumerate(journal) if isinstance(e, ExpectationJudged))
    assert max(healed) < settling < judged


async def test_a_step_does_one_thing(run_fake: Any) -> None:
    steps = '[[steps]]\nfault = "sticky"\ntargets = "validator-0"\nheal = "crash"\n'
    with pytest.raises(SpecError, match="exactly one of fault, expect, heal, run; it has fault and heal"):
        await run_fake(SAY + steps)


async def test_what_is_not_proven_leaves_the_verdict_unknown(run_fake: Any) -> None:
    finished = await run_fake(SAY + '[[workloads]]\nuse = "hold"\nheal = "unseen"\n')
    assert finished.outcome.exit_code is ExitCode.UNKNOWN
    assert "whether sticky of validator-0 (f1) was there could not be told" in str(events(finished)[-1])


async def test_a_command_needs_machines_that_run_commands(run_fake: Any) -> None:
    finished = await run_fake(SAY + '[[steps]]\nrun = ["true"]\n')
    assert finished.outcome.exit_code is ExitCode.USAGE
    assert "step 1 (true) needs commands, which fake cannot do" in finished.outcome.reason


async def test_several_that_need_what_is_not_there_are_told_together(run_fake: Any) -> None:
    finished = await run_fake(SAY + '[[steps]]\nrun = ["true"]\n[[steps]]\nrun = ["false"]\n')
    assert "step 1 (true), step 2 (false) need commands, which fake cannot do" in finished.outcome.reason


@pytest.mark.parametrize(
    ("steps", "complaint"),
    [
        ('[[steps]]\nheal = "x"\n', "no step before it has a fault of this name: x"),
        ('[[steps]]\nfault = "sticky"\nat = "300ms"\n', "300ms is after the end of the drive"),
        (
            '[[steps]]\nfault = "sticky"\ntargets = "validator-0"\nhold = "5m"\n[[steps]]\nexpect = "say"\n',
            "it cannot begin before 5m, when the drive (",
        ),
        ('[[steps]]\nfault = "sticky"\nholt = "5s"\n', r'holt: unknown key; did you mean "hold"'),
        ('[[steps]]\nfault = "sticky"\ntargets = "nobody"\n', '"nobody" matches no node'),
        ('[[steps]]\nfault = "sticky"\nhold = "1s"\nname = "x"\n', "nothing is left to heal by its name"),
        ('[[steps]]\nfault = "stick"\n', "sticky"),
        ('[[steps]]\nfault = "sticky"\ntwic = true\n', "twice"),
        ('[[steps]]\nexpect = "say"\nhold = "1s"\n', "hold is for a step with a fault"),
        ('[[steps]]\nat = "block x"\nexpect = "say"\n', 'or "block 30"'),
        ('[[steps]]\nat = "1s"\nafter = "1s"\nexpect = "say"\n', "at or after, not both"),
        ('[[steps]]\nat = "1s"\n', "it has none"),
        ('[[steps]]\nexpect = "say"\ncontinuous = true\n', "continuous is for [[expectations]]"),
        ('[[steps]]\nat = "90ms"\nexpect = "say"\n[[steps]]\nat = "80ms"\nexpect = "say"\n', "80ms is too early"),
        ('[[steps]]\nfault = "sticky"\nhold = "90ms"\n[[steps]]\nat = "80ms"\nexpect = "say"\n', "take until 90ms"),
        (
            '[[steps]]\nfault = "sticky"\nname = "x"\n[[steps]]\nheal = "x"\n[[steps]]\nheal = "x"\n',
            "step 2 has healed x already",
        ),
        ('[[steps]]\nfault = "sticky"\nabort = true\n', "abort is for a step with expect"),
        (
            '[[steps]]\nfault = "sticky"\nname = "x"\n[[steps]]\nfault = "sticky"\nname = "x"\n',
            "step 1 has this name already",
        ),
    ],
)
async def test_a_timeline_that_cannot_be_is_refused_with_its_place(run_fake: Any, steps: str, complaint: str) -> None:
    with pytest.raises(SpecError) as refused:
        await run_fake(SAY + steps)
    assert complaint in str(refused.value)
    assert all(problem.line > 0 for problem in refused.value.problems)


@pytest.mark.parametrize(
    ("steps", "line", "complaint"),
    [
        ('[[steps]]\nfault = "sticky"\n', 2, "sticky of validator-0, validator-1, validator-2: 3 of 3"),
        (
            '[[steps]]\nfault = "sticky"\ntargets = "validator-1"\n'
            '[[steps]]\nfault = "sticky"\ntargets = "validator-2"\nhold = "1ms"\n',
            5,
            "sticky of validator-2: 2 of 3 of the voting power would be out, and less than 1/2 may be",
        ),
        (
            '[[steps]]\nfault = "sticky"\ntargets = "validator-1"\n'
            '[[steps]]\nfault = "sticky"\ntargets = "validator-1"\nhold = "1ms"\n',
            5,
            "validator-1 is out of consensus already",
        ),
    ],
)
async def test_faults_that_the_budget_will_refuse_are_told_before_the_run(
    run_fake: Any, steps: str, line: int, complaint: str
) -> None:
    finished = await run_fake(SAY + steps)
    assert finished.outcome.exit_code is ExitCode.USAGE
    assert complaint in finished.outcome.reason
    assert re.search(rf"playbook\.toml:{line + 10}:\d+", finished.outcome.reason)
    if "already" not in complaint:
        assert 'budget = "unlimited"' in finished.outcome.reason
        assert (await run_fake(SAY + steps, top='budget = "unlimited"')).outcome.exit_code is ExitCode.PASS


async def test_what_was_healed_may_be_done_again(run_fake: Any) -> None:
    one = '[[steps]]\nfault = "sticky"\ntargets = "validator-1"\nname = "{}"\n[[steps]]\nheal = "{}"\n'
    finished = await run_fake(SAY + one.format("a", "a") + one.format("b", "b"))
    assert finished.outcome.exit_code is ExitCode.PASS


async def test_the_timeline_can_be_had_again_from_the_runs_own_playbook(run_fake: Any, fake_registry: Registry) -> None:
    steps = """
[[steps]]
at = "block 2"
fault = "sticky"
targets = "validator-1"
hold = "20ms"
[[steps]]
after = "5ms"
fault = "sticky"
targets = "validators:!validator-1"
name = "x"
[[steps]]
at = "80ms"
heal = "x"
[[steps]]
expect = "say"
"""
    finished = await run_fake(SAY + steps)
    again = load_playbook(finished.directory.path / "run.toml")
    [plan] = resolve_file(again, fake_registry)
    told = [(s.use.action, s.use.what, str(s.use.at), str(s.use.after), s.use.targets, s.use.name) for s in plan.steps]
    assert told == [
        ("fault", "sticky", "block 2", "None", "validator-1", ""),
        ("fault", "sticky", "None", "5ms", "validators:!validator-1", "x"),
        ("heal", "x", "80ms", "None", "all", ""),
        ("expect", "say", "None", "None", "all", ""),
    ]
