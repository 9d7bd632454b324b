"""The engine's pure parts: seeds, budget, ledger, selection, placement's arithmetic, outcome."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.engine.budget import FaultBudget
from harness.engine.ledger import Ledger, open_faults
from harness.engine.outcome import conclude
from harness.engine.runner import Judged
from harness.engine.seed import derive
from harness.errors import ExitCode, UsageError
from harness.plugin.contract.expectation import Judgement
from harness.spec.model import TopologySpec
from harness.spec.node_patterns import select_nodes
from harness.spec.topology import LAYOUTS, build_topology
from harness.spec.verdict import Verdict

NODES = build_topology(TopologySpec("full", {"validator": 4, "executor": 2}), derive(1, "t")).nodes


def test_components_draw_independently_and_the_same_again() -> None:
    assert derive(7, "a").random() == derive(7, "a").random()
    assert derive(7, "a").random() != derive(7, "b").random()
    assert derive(7, "a").random() != derive(8, "a").random()
    assert derive(7, "ab", "c").random() != derive(7, "a", "bc").random()


@pytest.mark.parametrize(
    ("tolerance", "down", "allowed"),
    [
        (Fraction(1, 3), ["validator-0"], True),
        (Fraction(1, 3), ["validator-0", "validator-1"], False),
        (Fraction(1, 2), ["validator-0"], True),
        (Fraction(1, 2), ["validator-0", "validator-1"], False),  # exactly half is not less than half
        (Fraction(1, 3), ["validator-0", "executor-0", "executor-1"], True),
    ],
)
def test_budget(tolerance: Fraction, down: list[str], allowed: bool) -> None:
    powers = {n.name: int(n.role == "validator") for n in NODES}
    assert FaultBudget(powers, tolerance).allows(down) is allowed
    assert FaultBudget(powers, tolerance, unlimited=True).allows(down)


def test_a_lone_validator_is_never_within_the_budget() -> None:
    assert not FaultBudget({"validator-0": 1}, Fraction(1, 2)).allows(["validator-0"])


def test_ledger_remembers_what_is_not_healed_also_after_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    ledger.intend("f1", "restart", ["a"], "start a")
    ledger.intend("f2", "restart", ["b"], "start b")
    ledger.healed("f1")
    ledger.close()
    with path.open("ab") as file:
        file.write(b'{"entry": "healed", "id"')
    assert [entry["id"] for entry in open_faults(path)] == ["f2"]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("all", [n.name for n in NODES]),
        ("executors", ["executor-0", "executor-1"]),
        ("validator:!validator-0", ["validator-1", "validator-2", "validator-3"]),
        ("!executors", ["validator-0", "validator-1", "validator-2", "validator-3"]),
        ("*-1", ["validator-1", "executor-1"]),
        ("validators:&*-1", ["validator-1"]),
        ("executor-1,validator-0", ["validator-0", "executor-1"]),
    ],
)
def test_node_patterns(pattern: str, names: list[str]) -> None:
    assert [n.name for n in select_nodes(pattern, NODES)] == names


@pytest.mark.parametrize("pattern", ["validatr", "~[(", "all:!all", "", "validator:&executor", "x*", "all:!nobody"])
def test_a_pattern_that_names_nothing_is_told(pattern: str) -> None:
    with pytest.raises(UsageError, match=r"matches no node and no role \(roles: validator, executor\)|leaves no node"):
        select_nodes(pattern, NODES)


@given(st.sampled_from(sorted(LAYOUTS)), st.integers(1, 12), st.integers(0, 5), st.integers(1, 5), st.integers())
def test_every_layout_is_connected_without_double_or_self_links(
    layout: str, validators: int, executors: int, degree: int, seed: int
) -> None:
    spec = TopologySpec(layout, {"validator": validators, "executor": executors}, degree)
    topology = build_topology(spec, derive(seed, "t"))
    pairs = [frozenset((link.src, link.dst)) for link in topology.links]
    assert len(set(pairs)) == len(pairs)
    assert all(len(pair) == 2 for pair in pairs)
    seen, todo = set(), [topology.nodes[0].name]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += topology.peers_of(name)
    assert len(seen) == validators + executors


def judged(*verdicts: Verdict) -> list[Judged]:
    return [Judged(f"e{i}", Judgement(v, f"m{i}", "a"), "") for i, v in enumerate(verdicts)]


@pytest.mark.parametrize(
    ("verdicts", "kwargs", "code", "verdict"),
    [
        ((Verdict.PASS, Verdict.PASS), {}, ExitCode.PASS, Verdict.PASS),
        ((Verdict.PASS, Verdict.UNKNOWN), {}, ExitCode.UNKNOWN, Verdict.UNKNOWN),
        ((Verdict.UNKNOWN, Verdict.FAIL), {}, ExitCode.FAIL, Verdict.FAIL),
        ((), {}, ExitCode.UNKNOWN, Verdict.UNKNOWN),
        ((Verdict.PASS,), {"interrupted": True}, ExitCode.INTERRUPTED, Verdict.UNKNOWN),
        ((Verdict.PASS,), {"failure": "no"}, ExitCode.INFRASTRUCTURE, Verdict.UNKNOWN),
        ((Verdict.FAIL,), {"failure": "no"}, ExitCode.INFRASTRUCTURE, Verdict.FAIL),
        ((Verdict.PASS,), {"failure": "no", "usage": True}, ExitCode.USAGE, Verdict.UNKNOWN),
        ((Verdict.PASS,), {"teardown_errors": ["x"]}, ExitCode.TEARDOWN, Verdict.PASS),
        ((Verdict.FAIL,), {"teardown_errors": ["x"]}, ExitCode.TEARDOWN, Verdict.FAIL),
        ((Verdict.PASS,), {"teardown_errors": ["x"], "failure": "no"}, ExitCode.TEARDOWN, Verdict.UNKNOWN),
        ((), {"teardown_errors": ["x"], "failure": "no", "usage": True}, ExitCode.USAGE, Verdict.UNKNOWN),
        ((Verdict.PASS,), {"teardown_errors": ["x"], "interrupted": True}, ExitCode.INTERRUPTED, Verdict.UNKNOWN),
    ],
)
def test_outcome(verdicts: tuple[Verdict, ...], kwargs: dict[str, object], code: ExitCode, verdict: Verdict) -> None:
    defaults: dict[str, object] = {"interrupted": False, "failure": "", "usage": False, "teardown_errors": []}
    outcome = conclude(judged(*verdicts), **{**defaults, **kwargs})  # type: ignore[arg-type]
    assert (outcome.exit_code, outcome.verdict) == (code, verdict)
    assert outcome.reason
    assert not kwargs.get("teardown_errors") or "teardown incomplete: x" in outcome.reason
    assert kwargs.get("failure", "") in outcome.reason
