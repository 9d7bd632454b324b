"""Two runs side by side, and the runs of a matrix."""

from __future__ import annotations

from typing import Any

import pytest

from harness.cli.reporting import matrix_of, side_of, summary_of, write_matrix, write_report
from harness.errors import UsageError
from harness.record.events import WorkloadProgress
from harness.record.state import NodeStatus, RunState
from harness.record.tables import NONE
from harness.report.charts import driven, seconds
from harness.report.compare import DIFFERS, SAME, UNKNOWN, compare
from harness.report.matrix import flows_of
from harness.report.page import comparison_page
from harness.report.views import node_table


def test_what_is_slower_is_worse(write_run: Any, events: Any, parse: Any) -> None:
    a = write_run("a-7f3a", events(), seed=1)
    b = write_run("b-7f3a", events(), slower=1.5, seed=2)
    compared = compare(side_of(a), side_of(b))
    latency = next(metric for metric in compared.measured if metric.name == "latency of transactions: p50")
    assert latency.judged == DIFFERS and latency.difference is not None
    assert latency.difference.change == pytest.approx(0.5, abs=0.2)
    told = next(text for text, _ in compared.told if text.startswith(latency.name))
    row = next(row for row in compared.metrics.rows if row.cells[0] == latency.name)
    for level in (seconds(latency.difference.a), seconds(latency.difference.b)):  # the change is of these
        assert level in told and level in row.cells[3]
    assert told.startswith(f"{latency.name}: higher in B by {latency.difference.change:.0%} (")
    assert "worse" in parse(comparison_page(compared)).text
    back = compare(side_of(b), side_of(a))
    assert next(m for m in back.measured if m.name == latency.name).mood.value == "good"


def test_noise_is_noise(write_run: Any, events: Any) -> None:
    a, b = write_run("a-7f3a", events(), seed=1), write_run("b-7f3a", events(), seed=2)
    compared = compare(side_of(a), side_of(b))
    judged = {metric.name: metric.judged for metric in compared.measured}
    assert judged["latency of transactions: p50"] == SAME
    assert judged["included by transactions"] == SAME
    assert ("what was measured does not differ by more than noise", "plain") in compared.told
    assert ("the same was asked of both", "plain") in compared.told
    assert not any("same run" in text for text, _ in compared.told)


def test_too_short_a_run_says_nothing(write_run: Any, events: Any) -> None:
    a = write_run("a-7f3a", [pair for pair in events() if pair[0] < 12])
    compared = compare(side_of(a), side_of(a))
    assert {metric.judged for metric in compared.measured if "latency" not in metric.name} == {UNKNOWN}
    assert any(text.startswith("too short to say") for text, _ in compared.told)
    assert compared.told[0][0] == "A and B are the same run"


def test_settings_and_verdicts_that_differ_are_told(write_run: Any, events: Any) -> None:
    a = write_run("a-7f3a", events())
    b = write_run("b-7f3a", [pair for pair in events() if pair[0] < 63.35])
    b.run_toml.write_text('name = "chaos"\n\n[vars]\nrate = 20\n\n[[workloads]]\nuse = "transactions"\n')
    compared = compare(side_of(a), side_of(b))
    assert {row.cells for row in compared.settings.rows} == {
        ("vars.rate", "10", "20"),
        ("workloads[transactions]", "–", "asked for"),
    }
    changed = {row.cells[0]: row.cells[1:3] for row in compared.expectations.rows if row.cells[3] == "changed"}
    assert changed == {"timing": ("unknown", "not judged")}


def test_what_stands_elsewhere_in_the_playbook_is_the_same(write_run: Any, events: Any) -> None:
    a, b = write_run("a-7f3a", events(), seed=1), write_run("b-7f3a", events(), seed=1)
    one, two = '[[expectations]]\nuse = "no-forks"\n', '[[expectations]]\nuse = "recovery"\nwithin = "1m"\nlag = 5\n'
    again = '[[expectations]]\nuse = "no-forks"\ndepth = 3\n'
    a.run_toml.write_text(one + two + again)
    b.run_toml.write_text(two + one + again.replace("3", "4"))
    assert {row.cells for row in compare(side_of(a), side_of(b)).settings.rows} == {
        ("expectations[no-forks 2].depth", "3", "4"),
    }
    b.run_toml.write_text(one + again)
    assert {row.cells for row in compare(side_of(a), side_of(b)).settings.rows} == {
        ("expectations[recovery]", "within = 1m, lag = 5", "–"),
    }


def test_a_seed_can_be_copied_from_what_differs(write_run: Any, events: Any) -> None:
    a, b = write_run("a-7f3a", events()), write_run("b-7f3a", events())
    a.run_toml.write_text("[vars]\nkey = 2888542601\n")
    b.run_toml.write_text("[vars]\nkey = 7\n")
    assert ("vars.key", "2888542601", "7") in {row.cells for row in compare(side_of(a), side_of(b)).settings.rows}


_DAY = "2026-01-31T12-00-00"


def _matrix(write_run: Any, events: Any, rates: tuple[int, ...]) -> list[Any]:
    return [
        write_run(
            f"load-00{n:02}",
            [
                (t, event)
                if t
                else (
                    t,
                    type(event)(**{**_fields(event), "variables": {"rate": rate}, "run_id": f"{_DAY}-load-00{n:02}"}),
                )
                for t, event in [
                    *events(rate=rate, matrix={"id": "load-1", "number": n, "of": len(rates) + 1}),
                    (70.0, WorkloadProgress("transactions", {"offered": 61 * rate, "included": 61 * rate}, True)),
                ]
            ],
            rate=rate,
        )
        for n, rate in enumerate(rates, 1)
    ]


def _fields(event: Any) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__dataclass_fields__}


def test_a_matrix_is_summed_up_against_what_was_offered(write_run: Any, events: Any) -> None:
    runs = _matrix(write_run, events, (5, 10, 40))
    summary = summary_of(list(reversed(runs)))
    assert [run.run_id for run in summary.runs] == [run.run_id for run in runs]
    assert (summary.verdict, summary.mood.value) == ("0 of 4 passed", "bad")
    flow = flows_of(summary.runs[2])["transactions"]
    assert flow.offered == pytest.approx(40, rel=0.05)
    assert flow.achieved == pytest.approx(flow.offered - 2 * 40 / 61.2, rel=0.02)  # what settles later is not achieved
    reached = summary.charts[0]
    assert reached.title == "transactions: achieved against offered"
    assert [round(x) for x, _ in reached.lines[2].points] == [5, 10, 40]
    assert [row.cells[0] for row in summary.figures.rows] == ["rate 5", "rate 10", "rate 40"]


def test_of_a_short_drive_nothing_is_missed_that_was_offered_after_its_last_record(write_run: Any, events: Any) -> None:
    def late(t: float, event: Any) -> Any:
        if not isinstance(event, WorkloadProgress):
            return event
        return WorkloadProgress("transactions", dict.fromkeys(event.figures, 0), False)

    told = {"offered": 600, "accepted": 590, "included": 580}
    last = (70.0, WorkloadProgress("transactions", told, True))
    summary = summary_of([write_run("short-0001", [*((t, late(t, e)) for t, e in events(rate=10)), last], rate=0)])
    [run] = summary.runs
    start, end = driven(run.observed.state)
    flow = flows_of(run)["transactions"]
    assert flow.offered == pytest.approx(600 / (end - start))
    assert flow.accepted == pytest.approx(590 / (end - start))


def test_of_what_goes_into_no_block_a_matrix_has_the_answers(write_run: Any, events: Any) -> None:
    def answered(event: Any) -> Any:
        if not isinstance(event, WorkloadProgress):
            return event
        figures = {name: event.figures[name] for name in ("offered", "accepted")}
        return WorkloadProgress("http", figures, event.final, None, {"n": 9, "p50": 0.5, "p99": 2.0})

    run = write_run("http-0001", [(t, answered(event)) for t, event in events(rate=10)], rate=0)
    flow = flows_of(summary_of([run]).runs[0])["http"]
    assert flow.achieved == flow.accepted == pytest.approx(10, rel=0.05)
    assert (flow.p50, flow.p99) == (0.5, 2.0)
    (answers,) = (metric for metric in compare(side_of(run), side_of(run)).measured if metric.name.endswith("by http"))
    assert answers.name == "accepted by http"
    assert max(answers.a) > 5


def test_a_matrix_of_other_things_stands_side_by_side(write_run: Any, events: Any) -> None:
    summary = summary_of(_matrix(write_run, events, (10, 10)))
    assert [x for x, _ in summary.charts[0].lines[2].points] == [0, 1]


def test_runs_of_a_matrix_find_each_other(write_run: Any, events: Any) -> None:
    runs = _matrix(write_run, events, (5, 10))
    alone = write_run("alone-7f3a", events())
    assert matrix_of(runs[1]) == runs
    with pytest.raises(UsageError, match="no run of a matrix"):
        matrix_of(alone)


def test_the_summary_lies_beside_the_runs_and_leads_to_them(write_run: Any, events: Any, parse: Any) -> None:
    runs = _matrix(write_run, events, (5, 10))
    write_report(runs[0])
    page = write_matrix(runs)
    assert page == runs[0].path.parent / "matrix-load-1.html"
    links = [one["href"] for one in parse(page.read_text()).named("a")]
    assert links == [f"{runs[0].run_id}/report.html"]


def test_a_matrix_named_by_a_stranger_stays_in_its_folder(write_run: Any, events: Any) -> None:
    run = write_run("evil-7f3a", events(matrix={"id": "../../evil\x00/x", "number": 1, "of": 1}))
    assert write_matrix([run]).parent == run.path.parent


def test_nodes_are_told_with_how_to_reach_them_where_that_is_known() -> None:
    nodes = {"a": NodeStatus("a", reach=("ssh", "-p", "22", "a b")), "b": NodeStatus("b")}
    table = node_table(RunState(nodes=nodes), alive=False)
    assert [row.cells[len(row.cells) - 1] for row in table.rows] == ["ssh -p 22 'a b'", NONE]
    assert {len(row.cells) for row in table.rows} == {len(table.columns)}
    assert "how to reach it" not in node_table(RunState(nodes={"b": NodeStatus("b")}), alive=False).columns
