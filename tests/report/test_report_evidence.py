"""Evidence of any shape, as a page shows it."""

from __future__ import annotations

from typing import Any

from harness.record.tables import Mood
from harness.report.evidence import Group, evidence_groups


def titles(groups: tuple[Group, ...]) -> list[str]:
    return [group.title for group in groups]


def test_a_record_of_many_figures_is_told_figure_by_figure() -> None:
    percentiles: dict[str, Any] = {"n": 3, "p50": 1.5, "max": 2.0}
    tracker = {
        "offered": 1200,
        "latency_seconds": percentiles,
        "answer_seconds": percentiles,
        "reasons": {},
        "sender": {"senders": 2, "on_time": 1199},
    }
    (own, sender) = evidence_groups({"transactions": tracker})
    assert own.title == "transactions" and own.facts == (("offered", "1,200"),)
    (table,) = own.tables
    assert [row.cells for row in table.rows] == [
        ("latency_seconds", "3", "1.5", "2"),
        ("answer_seconds", "3", "1.5", "2"),
    ]
    assert sender.title == "transactions: sender" and ("on time", "1,199") in sender.facts


def test_of_many_alike_there_is_one_table_and_what_is_wrong_comes_first() -> None:
    nodes = {"a_0": {"made": 4, "wrong": []}, "b_0": {"made": 0, "wrong": ["stood still"]}}
    for evidence in (nodes, {"nodes": nodes}):
        (group,) = evidence_groups(evidence)
        (table,) = group.tables
        assert [row.cells[0] for row in table.rows] == ["b_0", "a_0"] and table.rows[0].mood is Mood.BAD
        assert not group.facts


def test_what_would_be_too_wide_a_table_is_a_list() -> None:
    reasons = {f"because of {number}": number for number in range(1, 90)}
    (group,) = evidence_groups({"reasons": {"w": reasons}})
    assert group.title == "reasons: w" and group.facts[0] == ("because of 1", "1")
    assert len(group.facts) + group.left_out == len(reasons) and group.left_out > 0


def test_however_deep_it_is_it_ends() -> None:
    deep: dict[str, Any] = {"at": "the bottom"}
    for number in range(50):
        deep = {f"level {number}": deep, "n": number}
    groups = evidence_groups(deep)
    assert len(groups) < 10 and "the bottom" not in " ".join(titles(groups))


def test_what_there_is_nothing_of_is_not_told() -> None:
    assert evidence_groups({}) == evidence_groups({"left_out": {}, "why": "", "wrong": ["told before"]}) == ()
    assert evidence_groups({"late": 0})[0].facts == (("late", "0"),)
