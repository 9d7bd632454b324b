"""Who is in the network: late nodes, and the faults join, leave and churn, on real nodes of this machine."""

from __future__ import annotations

from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from harness.api import CUT, FaultError, Flow, LinkShape, NodeState, SystemClock
from harness.errors import ExitCode, SpecError
from harness.plugin.registry import Registry
from harness.record.events import ExpectationJudged, FaultStaged, NodeChanged
from harness.record.journal import read_journal
from harness.testing import run_playbook
from harness_nemesis.membership import Churn, Join, JoinConfig
from harness_nemesis.schedule import Choice, Pace, schedule

pytestmark = pytest.mark.anyio

PLAYBOOK = """
name = "membership"
chain = {{ use = "devnet", slot_duration = "100ms" }}
duration = "{duration}"
seed = 5
settle = "1s"
[topology]
layout = "full"
validators = 2
executors = 2
late = "executor-1"
[[expectations]]
use = "consensus-liveness"
[[expectations]]
use = "nodes-healthy"
{rest}
"""


async def run(tmp_path: Path, rest: str, duration: str = "6s") -> tuple[Any, list[Any]]:
    finished = await run_playbook(PLAYBOOK.format(rest=rest, duration=duration), tmp_path, Registry())
    return finished, [one.event for one in read_journal(finished.directory.journal)]


def faults(events: list[Any]) -> list[tuple[str, str]]:
    return [(e.fault, e.stage) for e in events if isinstance(e, FaultStaged) and e.stage not in ("intended", "healing")]


@pytest.mark.real
async def test_a_late_node_joins_and_catches_up(tmp_path: Path) -> None:
    step = '[[steps]]\nat = "2s"\nfault = "join"\ntargets = "executor-1"\nhold = "0s"\n'
    finished, events = await run(tmp_path, step)
    assert finished.outcome.exit_code is ExitCode.PASS, finished.outcome.reason
    assert faults(events) == [("join", "injected"), ("join", "proven"), ("join", "healed")]
    started = [e.node for e in events if isinstance(e, NodeChanged) and e.state == "running"]
    assert started[-1] == "executor-1"
    liveness = next(e for e in events if isinstance(e, ExpectationJudged) and e.expectation == "consensus-liveness")
    assert "on 4 nodes" in liveness.measured and "1 recoveries" in liveness.measured


@pytest.mark.real
async def test_nodes_that_never_join_are_not_missed(tmp_path: Path) -> None:
    finished, events = await run(tmp_path, "", "3s")
    assert finished.outcome.exit_code is ExitCode.PASS, finished.outcome.reason
    assert not [e for e in events if isinstance(e, NodeChanged) and e.node == "executor-1"]


@pytest.mark.real
async def test_who_leaves_is_replaced_and_may_come_back(tmp_path: Path) -> None:
    """The one late node comes first, then the one that has left before it."""
    step = '[[steps]]\nafter = "1s"\nfault = "churn"\ntargets = "{}"\nhold = "0s"\n'
    finished, events = await run(tmp_path, step.format("executor-0") + step.format("executor-1"), "8s")
    assert finished.outcome.exit_code is ExitCode.PASS, finished.outcome.reason
    changes = [(e.node, e.state) for e in events if isinstance(e, NodeChanged) and e.node.startswith("executor")]
    running = [node for node, state in changes if state == "running"]
    assert running == ["executor-0", "executor-1", "executor-0"]


@pytest.mark.real
async def test_who_has_left_cannot_be_disturbed(tmp_path: Path) -> None:
    leave = '[[steps]]\nfault = "leave"\ntargets = "executor-0"\nhold = "0s"\n'
    kill = '[[steps]]\nfault = "kill"\ntargets = "executor-0"\nhold = "1s"\n'
    finished, _ = await run(tmp_path, leave + kill)
    assert finished.outcome.exit_code is ExitCode.USAGE, "it is seen in plan"
    assert "step 2: executor-0 is out of consensus already" in finished.outcome.reason
    join = '[[steps]]\nfault = "join"\ntargets = "executor-0"\nhold = "0s"\n'
    finished, events = await run(tmp_path, leave + join + kill)
    assert finished.outcome.exit_code is ExitCode.PASS, finished.outcome.reason
    assert [fault for fault, stage in faults(events) if stage == "healed"] == ["leave", "join", "kill"]


@pytest.mark.real
@pytest.mark.parametrize(("fault", "target"), [("churn", "executor-0"), ("join", "executor-1")])
async def test_who_has_come_may_be_dead_when_that_is_over(tmp_path: Path, fault: str, target: str) -> None:
    """It is another fault that holds it then, and that one's matter."""
    come = f'[[steps]]\nname = "come"\nfault = "{fault}"\ntargets = "{target}"\n'
    kill = '[[steps]]\nname = "kill"\nfault = "kill"\ntargets = "executor-1"\n'
    heal = '[[steps]]\nheal = "come"\n[[steps]]\nheal = "kill"\n'
    finished, events = await run(tmp_path, come + kill + heal)
    assert finished.outcome.exit_code is ExitCode.PASS, finished.outcome.reason
    assert faults(events)[-2:] == [(fault, "healed"), ("kill", "healed")]


@pytest.mark.parametrize(
    ("rest", "path", "complaint"),
    [
        ('[[steps]]\nfault = "join"\ntargets = "executor-0"\n', "step 1", "executor-0 is in the network already"),
        (
            '[[steps]]\nfault = "join"\ntargets = "executor-1"\n[[steps]]\nfault = "churn"\ntargets = "executor-0"\n',
            "step 2",
            "there is no node to come in the place of executor-0",
        ),
        (
            '[[workloads]]\nuse = "chaos.churn"\nmin_delay = "1s"\ntargets = "validator"\n',
            "workloads[0]",
            "churn: there is no node to come in the place of validator-",
        ),
    ],
)
async def test_who_cannot_come_is_told_in_plan(tmp_path: Path, rest: str, path: str, complaint: str) -> None:
    text = PLAYBOOK.format(rest=rest, duration="6s")
    if "chaos" in rest:
        text = text.replace('late = "executor-1"\n', "")
    try:
        finished = await run_playbook(text, tmp_path, Registry())
        code, told = finished.outcome.exit_code, finished.outcome.reason
    except SpecError as error:
        code, told = error.exit_code, f"{error.problems[0].path}: {error.problems[0].message}"
        assert error.problems[0].line > 0
    assert code is ExitCode.USAGE and complaint in told and path in told, told


@pytest.mark.parametrize(
    ("late", "complaint"), [("executor-9", "matches no node"), ("validators,executors", "there would be no network")]
)
async def test_late_nodes_that_cannot_be_are_refused(tmp_path: Path, late: str, complaint: str) -> None:
    text = PLAYBOOK.format(rest="", duration="1s").replace('late = "executor-1"', f'late = "{late}"')
    with pytest.raises(SpecError, match=complaint) as refused:
        await run_playbook(text, tmp_path, Registry())
    assert refused.value.problems[0].line > 0


@pytest.mark.parametrize("seed", range(20))
def test_churn_goes_on_as_long_as_the_drive(seed: int) -> None:
    names = ["e0", "e1", "e2", "e3"]
    turns = schedule(Random(seed), names, (Choice(Churn, JoinConfig(), 0.0),), Pace(10, 20, 5), 300, ["e2", "e3"])
    present = {"e0", "e1"}
    away = ["e2", "e3"]
    assert len(turns) > 10
    for turn in turns:
        (leaver,) = turn.targets
        assert leaver in present
        present = present - {leaver} | {away[0]}
        away = [*away[1:], leaver]


@pytest.mark.parametrize(("shaped", "holds"), [({Flow("validator-0", "executor-1"): CUT}, None), ({}, False)])
async def test_who_cannot_catch_up_while_other_faults_cut_it_off_is_not_told_as_absent(
    shaped: dict[Flow, LinkShape], holds: bool | None
) -> None:
    class At:
        def __init__(self, name: str, height: int) -> None:
            self.name, self.height, self.state = name, height, NodeState.RUNNING

        async def start(self) -> None: ...
        async def wait_ready(self, timeout: float) -> None: ...
        async def process_state(self) -> str:
            return "running"

        def client(self) -> At:
            return self

        async def head(self) -> SimpleNamespace:
            return SimpleNamespace(height=self.height)

    comes, ahead = At("executor-1", 3), At("validator-0", 90)
    ctx: Any = SimpleNamespace(
        targets=[comes],
        nodes={"executor-1": comes, "validator-0": ahead},
        absent=["executor-1"],
        clock=SystemClock(),
        shaped_by_others=lambda: shaped,
    )
    join = Join(JoinConfig.model_validate({"catch_up": "10ms"}))
    await join.inject(ctx)
    if holds is False:
        with pytest.raises(FaultError, match="executor-1 has joined and is at height 3, the others at 90"):
            await join.prove(ctx)
        return
    assert (await join.prove(ctx)).holds is holds
    assert (await join.prove(ctx)).holds is True, "it was told once, and is a node like any other"
