"""The fluent builder: the three reference scenarios read in Python as they do in TOML, and give the same plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness import Scenario, deployer
from harness.engine.plan import Plan, resolve_file
from harness.engine.recorder import describe
from harness.errors import SpecError
from harness.plugin.registry import Registry
from harness.spec.playbook import PlaybookFile, load_playbook
from harness.spec.toml_document import TomlDocument
from harness.spec.verdict import Verdict

PLAYBOOKS = Path(__file__).parents[2] / "playbooks"


def load_progression(rate: int) -> Plan:
    return (
        Scenario.topology(layout="star", validators=3, executors=2)
        .named("load progression")
        .wallets(50)
        .transactions(rate=rate, users=20)
        .expect_consensus_liveness()
        .expect_no_forks()
        .expect_nodes_healthy()
        .run_for("60s")
        .seed(1)
        .build()
    )


def sustained_load() -> Plan:
    return (
        Scenario.topology(layout="star", validators=4, executors=2)
        .named("sustained load")
        .wallets(100)
        .transactions(rate=15, users=50)
        .da(channel_rate=2, blob_rate=3)
        .expect_consensus_liveness()
        .expect_no_forks()
        .expect_nodes_healthy()
        .expect_balances_conserved()
        .run_for("300s")
        .seed(1)
        .build()
    )


def aggressive_chaos() -> Plan:
    return (
        Scenario.topology(layout="star", validators=4, executors=2)
        .named("aggressive chaos")
        .wallets(50)
        .transactions(rate=10, users=20)
        .chaos_restart(min_delay="10s", max_delay="20s", target_cooldown="15s")
        .expect_consensus_liveness()
        .expect_no_forks()
        .expect_nodes_healthy()
        .run_for("180s")
        .seed(7)
        .build()
    )


def comparable(plan: Plan) -> dict[str, Any]:
    described = dict(describe(plan))
    return {key: value for key, value in described.items() if key not in ("vars", "description")}


@pytest.mark.parametrize(
    ("build", "playbook", "run"),
    [
        *((lambda rate=rate: load_progression(rate), "load_progression", i) for i, rate in enumerate((5, 10, 20, 30))),
        (sustained_load, "sustained_load", 0),
        (aggressive_chaos, "aggressive_chaos", 0),
    ],
)
def test_python_and_toml_give_the_same_plan(build: Any, playbook: str, run: int) -> None:
    built = build()
    read = resolve_file(load_playbook(PLAYBOOKS / f"{playbook}.toml"), Registry(), seed=built.seed)[run]
    assert comparable(built) == comparable(read)
    assert built.topology == read.topology


STEPS = """
name = "timeline"
description = "All that a timeline can say"
chain = "devnet"
duration = "90s"
ready_timeout = "30s"
settle = "5s"
seed = 1
budget = "unlimited"
[topology]
layout = "random"
degree = 2
validators = 4
executors = 2
late = "executor-1"
[wallets]
count = 5
balance = 700
[[workloads]]
use = "chaos.kill"
targets = "validator-3"
[[expectations]]
use = "convergence"
[[expectations]]
use = "consensus-liveness"
continuous = true
[[steps]]
at = "block 30"
fault = "partition"
shape = "halves"
targets = "validator"
hold = "20 blocks"
[[steps]]
expect = "convergence"
within = "10 blocks"
abort = true
[[steps]]
after = "5s"
fault = "restart"
targets = "validator-1"
name = "down"
[[steps]]
run = ["sync", "-f"]
targets = "executor-0"
[[steps]]
heal = "down"
[[steps]]
at = "60s"
fault = "join"
targets = "executor-1"
hold = "0s"
"""


def timeline() -> Plan:
    return (
        Scenario.topology(layout="random", degree=2, validators=4, executors=2, late="executor-1")
        .named("timeline", "All that a timeline can say")
        .step(at="block 30", fault="partition", shape="halves", targets="validator", hold="20 blocks")
        .step(expect="convergence", within="10 blocks", abort=True)
        .step(after="5s", fault="restart", targets="validator-1", name="down")
        .step(run=["sync", "-f"], targets="executor-0")
        .step(heal="down")
        .step(at="60s", fault="join", targets="executor-1", hold="0s")
        .wallets(5, balance=700)
        .expect_convergence()
        .expect_consensus_liveness(continuous=True)
        .chaos_kill(targets="validator-3")
        .run_for("90s")
        .settle_for("5s")
        .ready_within(30)
        .unlimited_faults()
        .seed(1)
        .build()
    )


def test_a_timeline_and_late_nodes_in_python_are_those_of_toml() -> None:
    [read] = resolve_file(PlaybookFile(TomlDocument.parse(STEPS, "playbook.toml")), Registry())
    built = timeline()
    assert describe(built) == describe(read)
    assert built.topology == read.topology
    assert [one.id for one in built.expectations] == [one.id for one in read.expectations]
    of_steps = [[one.component.id for one in plan.steps if one.component is not None] for plan in (built, read)]
    assert of_steps[0] == of_steps[1] == ["partition", "convergence#2", "restart", "join"]
    labels = [
        [(one.use.label, one.use.what, one.use.argv, one.use.abort) for one in plan.steps] for plan in (built, read)
    ]
    assert labels[0] == labels[1]


def test_a_wrong_step_is_told_with_the_line_that_made_it() -> None:
    scenario = Scenario.topology(validators=2)
    for wrong, told in (
        ({"fault": "kill", "expect": "no-forks"}, "it has fault and expect"),
        ({"at": "block x", "fault": "kill"}, "at: .*block 30"),
        ({"heal": "x", "hold": "1s"}, "hold is for a step with a fault"),
    ):
        with pytest.raises(SpecError, match=rf"{__file__}:\d+:1: .*{told}"):
            scenario.step(**wrong)
    with pytest.raises(SpecError, match=rf"{__file__}:\d+:1: .*shap: unknown key"):
        scenario.step(fault="partition", shap="halves").expect_no_forks().build()
    with pytest.raises(SpecError, match="no step before it has a fault of this name: x"):
        scenario.step(heal="x").expect_no_forks().build()
    with pytest.raises(SpecError, match="late"):
        Scenario.topology(validators=2, late="executor-9").expect_no_forks().build()


def test_what_is_recorded_of_a_plan_is_a_playbook_that_gives_the_plan_again(tmp_path: Path) -> None:
    from harness.spec import toml_writer

    for path in PLAYBOOKS.glob("*.toml"):
        for plan in resolve_file(load_playbook(path), Registry(), seed=3):
            again = tmp_path / "run.toml"
            again.write_text(toml_writer.dumps(describe(plan)))
            [reread] = resolve_file(load_playbook(again), Registry())
            assert describe(reread) == describe(plan)


def test_a_mistake_is_told_with_the_line_that_made_it() -> None:
    scenario = Scenario.topology(validators=1).transactions(rat=5).expect_no_forks()
    with pytest.raises(SpecError, match=rf'{__file__}:\d+:1: .*rat: unknown key; did you mean "rate"\?'):
        scenario.build()
    with pytest.raises(SpecError, match=r"layout: there is no layout"):
        Scenario.topology(layout="blob", validators=1)
    with pytest.raises(AttributeError, match=r'did you mean "expect_no_forks"\?'):
        scenario.expect_no_fork()


@pytest.mark.anyio
@pytest.mark.real
async def test_deploy_and_run_from_python(tmp_path: Path) -> None:
    plan = (
        Scenario.topology(validators=2)
        .chain("devnet", slot_duration="100ms", security_param=3)
        .wallets(4)
        .transactions(rate="10/s", users=2)
        .expect_no_forks()
        .run_for("2s")
        .build()
    )
    async with deployer("process", runs=tmp_path / "runs").deploy(plan) as runner:
        assert await runner.run(plan) is Verdict.PASS
        assert {found.id for found in runner.findings} == {"no-forks", "transaction-inclusion"}
    [run] = (tmp_path / "runs").iterdir()
    assert '"exit_code": 0' in (run / "result.json").read_text()


def test_the_runs_of_a_matrix_share_their_seed() -> None:
    plans = resolve_file(load_playbook(PLAYBOOKS / "load_progression.toml"), Registry())
    assert len(plans) == 4
    assert len({plan.seed for plan in plans}) == 1
    assert [plan.playbook.variables["rate"] for plan in plans] == [5, 10, 20, 30]
