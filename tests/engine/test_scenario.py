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
from harness.spec.playbook import load_playbook
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
