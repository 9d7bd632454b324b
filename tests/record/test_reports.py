"""Summaries, result.json and junit.xml."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from syrupy.assertion import SnapshotAssertion

from harness.record.events import (
    BlockObserved,
    ExpectationJudged,
    FaultStaged,
    FeedChanged,
    NodeChanged,
    Note,
    PhaseEnded,
    PhaseStarted,
    Recorded,
    RunFinished,
    RunStarted,
    ViolationSeen,
    WorkloadProgress,
)
from harness.record.evidence import evidence_lines
from harness.record.junit import write_junit
from harness.record.reduce import reduce_all
from harness.record.render import console_for, render_summary, render_table
from harness.record.result import write_result
from harness.record.rundir import RunDirectory
from harness.record.state import RunState
from harness.record.summary import matrix_table, summarize
from harness.record.text import block, figure, one_line

Wrap = Callable[..., list[Recorded]]


@pytest.fixture
def state(timeline: Any, record: Wrap) -> RunState:
    return reduce_all(record(timeline))


def text_of(state: RunState, *, width: int | None = None, brief: bool = False, **how: Any) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width) if width else console_for(out)
    render_summary(summarize(state, **how), console, brief=brief)
    return out.getvalue()


def test_the_summary(state: RunState, snapshot: SnapshotAssertion) -> None:
    assert text_of(state) == snapshot


def test_the_summary_in_80_columns(state: RunState, snapshot: SnapshotAssertion) -> None:
    text = text_of(state, width=80)
    assert text == snapshot
    tables = text[: text.index("run again")]
    assert max(map(len, tables.splitlines())) <= 80


def test_the_brief_summary(state: RunState, snapshot: SnapshotAssertion) -> None:
    assert text_of(state, brief=True) == snapshot


def test_a_summary_in_colours(state: RunState) -> None:
    out = io.StringIO()
    render_summary(summarize(state), Console(file=out, width=100, force_terminal=True, color_system="standard"))
    assert "\x1b[1;31mFAIL\x1b[0m" in out.getvalue() and "\x1b[32mPASS" in out.getvalue()


def test_runs_without_an_end(state: RunState, record: Wrap, timeline: Any) -> None:
    cut = reduce_all(record(timeline[:60]))
    assert "RUNNING  in phase drive" in text_of(cut, alive=True)
    dead = text_of(cut, skipped=3)
    assert "DEAD  its controller was gone" in dead and "NOT JUDGED" in dead and "3 lines of the journal" in dead
    assert "DEAD  its controller is gone and wrote nothing" in text_of(RunState())
    assert {row.cells[3] for row in summarize(cut).nodes.rows} == {"gone", "stopped"}
    assert {row.cells[3] for row in summarize(cut, alive=True).nodes.rows} == {"running", "stopped"}


def test_one_of_a_kind_is_singular(record: Wrap) -> None:
    run = RunStarted("id", "n", 1, "0", "c", "d", 1.0, 1.0, 1, "", {"v-0": {}}, (), ("e",))
    assert "1 node" in summarize(reduce_all(record([run]))).facts
    assert "1 line of the journal" in text_of(RunState(), skipped=1)


def test_evidence_has_a_line_for_each_finding_and_what_is_wrong_comes_first() -> None:
    nodes = {f"validator-{i}": {"made": 1000 + i, "lag": 0, "stalls": [], "wrong": []} for i in range(20)}
    nodes["validator-17"] |= {"wrong": ["made 3 blocks, promised 60", "400 behind"]}
    evidence = {"promised": 60.0, "nodes": nodes, "left_out": {}, "conflicts": [{"height": 5}, {"height": 6}]}
    lines = evidence_lines(evidence, "validator-9: stood still, validator-17: made 3 blocks", limit=5)
    assert lines == (
        "validator-9: made 1,009, lag 0",
        "validator-17: made 3 blocks, promised 60; 400 behind (made 1,017, lag 0)",
        "promised: 60",
        "validator-0: made 1,000, lag 0",
        "validator-1: made 1,001, lag 0",
        "… and 18 more in result.json",
    )
    assert evidence_lines({"load": {"sent": 6, "latency_s": {"n": 6, "p50": 0.5}}}) == (
        "load: sent 6, latency s (n 6, p50 0.5)",
    )
    assert evidence_lines({"conflicts": [{"height": 5}], "lost_txs": list(range(20)), "none": None}) == (
        "conflicts: height 5",
        "lost txs: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, … and 8 more",
    )


def test_a_narrow_terminal_gets_lines_and_no_tables(state: RunState) -> None:
    text = text_of(state, width=40)
    assert "validator-2\n  role: validator\n  machine: local\n" in text
    assert "FAIL\n  expectation: transaction-inclusion\n" in text
    assert "───" not in text and "–" not in text


def test_the_brief_summary_says_where_the_rest_is(state: RunState, tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path / "runs", "x", 0.0)
    lines = text_of(state, brief=True, directory=directory).splitlines()
    assert lines[-1] == f"run directory  {directory.path}"


def test_an_interrupted_matrix_says_how_many_there_were_to_be(state: RunState) -> None:
    assert state.run is not None
    first = replace(state, run=replace(state.run, variables={"rate": 5, "fixed": 1}))
    table = matrix_table([first], [{"rate": 5, "fixed": 1}, {"rate": 10, "fixed": 1}])
    assert (table.title, table.columns[0], table.rows[0].cells[0]) == ("1 of 2 runs", "rate", "5")


def test_the_status_goes_before_the_verdict(state: RunState) -> None:
    broken = replace(state, finish=RunFinished("pass", 5, "teardown-incomplete", "a process is left", 9.0))
    assert "TEARDOWN INCOMPLETE  a process is left  (exit code 5)" in text_of(broken)


def test_where_the_files_are_and_how_to_run_it_again(
    state: RunState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = RunDirectory.create(tmp_path / "runs", "x", 0.0)
    directory.journal.write_text("")
    monkeypatch.chdir(tmp_path)
    summary = summarize(state, directory)
    assert dict(summary.files) == {
        "run directory": f"runs/{directory.run_id}",
        "journal": f"runs/{directory.run_id}/journal.jsonl",
        "node logs": f"runs/{directory.run_id}/logs",
    }
    assert summary.again == (
        "harness run '/srv/net/playbooks/aggressive chaos.toml' --seed 7 -e rate=10 -e 'label=\"7\"'"
    )
    assert state.run is not None
    asked = replace(
        state.run, command=("harness", "run", "p.toml", "-i", "my hosts.toml", "-e", "rate=5", "--seed", "7")
    )
    again = summarize(replace(state, run=asked)).again
    assert again == "harness run p.toml -i 'my hosts.toml' -e rate=5 --seed 7 -e 'label=\"7\"'"
    assert summarize(RunState(), command=("harness", "run", "a b")).again == "harness run 'a b'"
    narrow = text_of(state, width=40)
    assert summary.again in narrow  # on one line, to be copied


def test_long_lists_are_cut_and_say_so_with_the_troubled_first(record: Wrap) -> None:
    nodes = {f"v-{i}": {"role": "v", "machine": "m"} for i in range(40)}
    run = RunStarted("id", "n", 1, "0", "c", "d", 1.0, 1.0, 1, "", nodes, (), ("e",))
    events = [
        run,
        NodeChanged("v-39", "exited", why="boom", expected=False),
        *(FaultStaged(f"f{i}", "cut", ("v-0",), "healed") for i in range(50)),
        FaultStaged("f-last", "cut", ("v-0",), "not-healed", error="still cut"),
        *(Note("x", "warning", str(i)) for i in range(50)),
        *(ViolationSeen("e", f"violation {i}", {"i": i}) for i in range(1234)),
    ]
    text = text_of(reduce_all(record(events)))
    for expected in ("v-39: boom", "24 more", "f-last: still cut", "21 more", "30 more", "1,231 more violations"):
        assert expected in text
    assert "VIOLATED" in text and len(text.splitlines()) < 120


def test_a_matrix_has_a_row_for_each_run_and_the_variables_that_differ(
    state: RunState, snapshot: SnapshotAssertion
) -> None:
    assert state.run is not None
    states = [
        replace(state, run=replace(state.run, variables={"rate": rate, "fixed": 1}, run_id=f"run-{rate}"))
        for rate in (5, 10)
    ]
    passed = {name: replace(e, verdict="pass") for name, e in state.expectations.items()}
    states[0] = replace(states[0], expectations=passed, finish=RunFinished("pass", 0, "done", "all hold", 61.0))
    states.append(replace(states[1], finish=None))
    out = io.StringIO()
    render_table(matrix_table(states), console_for(out))
    assert out.getvalue() == snapshot


def test_result_json(state: RunState, tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    path = tmp_path / "result.json"
    write_result(path, state)
    assert json.loads(path.read_text()) == snapshot
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


def cases(path: Path) -> dict[str, tuple[str, str, str]]:
    """Test case → (what it is, its message, its text)."""
    found = {}
    for case in ET.parse(path).getroot().iter("testcase"):
        problem = next(iter(case), None)
        about = ("passed", "", "") if problem is None else (problem.tag, problem.get("message", ""), problem.text or "")
        found[case.get("name", "")] = about
    return found


def test_evidence_of_any_kind_is_in_the_result(record: Wrap, tmp_path: Path) -> None:
    seen = defaultdict(int, {"a": 1})
    state = reduce_all(record([(1.0, ViolationSeen("x", "odd", {"counts": seen, "odd": {1, 2}}))]))
    write_result(tmp_path / "result.json", state)
    [one] = json.loads((tmp_path / "result.json").read_text())["expectations"]
    assert one["violations"][0]["evidence"] == {"counts": {"a": 1}, "odd": [1, 2]}


def test_junit_xml(state: RunState, tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    write_junit(path, state)
    found = cases(path)
    assert {name: kind for name, (kind, _, _) in found.items()} == {
        "deploy": "passed",
        "consensus-liveness": "passed",
        "transaction-inclusion": "failure",
        "no-forks": "failure",
        "da-availability": "error",  # unknown must not look green
        "teardown": "passed",
        "run": "passed",
    }
    _, message, text = found["transaction-inclusion"]
    assert "81.2 %" in message and "at least 95 %" in message
    assert "aggressive chaos.toml:35:1" in text and '"tx12"' in text
    assert "two final blocks at height 12" in found["no-forks"][2]
    suite = next(ET.parse(path).getroot().iter("testsuite"))
    assert (suite.get("failures"), suite.get("errors"), suite.get("tests")) == ("2", "1", "7")
    assert float(suite.get("time", "")) == pytest.approx(183.0)
    assert {p.get("name"): p.get("value") for p in suite.iter("property")}["seed"] == "7"


@pytest.mark.parametrize(
    ("events", "red"),
    [
        ([], {"deploy", "teardown", "run"}),
        ([PhaseStarted("deploy"), PhaseEnded("deploy", False, 1.0, "no port"), PhaseStarted("teardown"),
          PhaseEnded("teardown", True, 1.0), RunFinished("unknown", 3, "infrastructure-failed", "no port", 2.0)],
         {"deploy", "run"}),
        ([PhaseStarted("deploy"), PhaseEnded("deploy", True, 1.0), PhaseStarted("teardown"),
          PhaseEnded("teardown", False, 1.0, "left"), RunFinished("pass", 5, "teardown-incomplete", "left", 2.0)],
         {"teardown", "run"}),
        ([PhaseStarted("deploy"), PhaseEnded("deploy", True, 1.0), PhaseStarted("teardown"),
          PhaseEnded("teardown", True, 1.0), RunFinished("unknown", 2, "done", "nothing was judged", 2.0)], {"run"}),
        ([PhaseStarted("deploy"), PhaseEnded("deploy", True, 1.0), PhaseStarted("ready"), ViolationSeen("e", "fork")],
         {"deploy", "e", "teardown", "run"}),
        ([PhaseStarted("deploy"), PhaseEnded("deploy", True, 1.0), ExpectationJudged("e", "pass", "1", "1"),
          PhaseStarted("teardown"), PhaseEnded("teardown", True, 1.0), RunFinished("pass", 0, "done", "ok", 2.0)],
         set()),
    ],
)  # fmt: skip
def test_what_did_not_go_well_is_red(events: list[Any], red: set[str], record: Wrap, tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    write_junit(path, reduce_all(record(events)))
    assert {name for name, (kind, _, _) in cases(path).items() if kind != "passed"} == red


HOSTILE = "\x1b[2J\x1b]0;owned\x07\x9b31m[red]x[/red]</testcase>\r\n\x00\u202e\ud800\uffff"


def hostile_events() -> list[Any]:
    h = HOSTILE
    return [
        RunStarted(h, h, 1, h, h, h, 1.0, 1.0, 1, h, {h: {"role": h, "machine": h}}, (h,), (h,), {h: h}, (h,)),
        PhaseStarted(h),
        PhaseEnded(h, False, 1.0, h),
        PhaseStarted("deploy"),
        PhaseEnded("deploy", False, 1.0, h),
        NodeChanged(h, "exited", 1, h, False),
        BlockObserved(h, 1, h, h, 0.0, h),
        FeedChanged(h, False, h),
        WorkloadProgress(h, {h: h}),
        FaultStaged(h, h, (h,), "injected", h, {h: h}),
        FaultStaged(h, h, (h,), "not-applied", h, {h: h}, h),
        ViolationSeen(h, h, {h: h}),
        ExpectationJudged(h, "fail", h, h, {h: [h]}, h),
        Note(h, "warning", h, {h: h}),
        Note(h, "error", h, {h: h}),
        RunFinished("fail", 1, h, h, 1.0),
    ]


def is_inert(text: str) -> bool:
    return all(char.isprintable() or char == "\n" for char in text)


def test_text_from_outside_stays_inert_everywhere(record: Wrap, tmp_path: Path) -> None:
    state = reduce_all(record(hostile_events()))
    text = text_of(state)
    assert is_inert(text) and "[red]x[/red]" in text and "\\x1b[2J" in text
    assert is_inert(text_of(state, width=30))
    write_result(tmp_path / "result.json", state)
    content = (tmp_path / "result.json").read_text()
    assert content.isascii() and is_inert(content) and json.loads(content)["reason"] == HOSTILE
    write_junit(tmp_path / "junit.xml", state)
    assert is_inert((tmp_path / "junit.xml").read_text())
    found = cases(tmp_path / "junit.xml")
    assert len(found) == 4 and any("[red]x[/red]</testcase>" in message for _, message, _ in found.values())


def test_unsafe_characters_are_shown_as_escapes() -> None:
    assert one_line("a\x1b[0m\n\t\u202e\ud800é“") == "a\\x1b[0m\\n\\t\\u202e\\ud800é“"
    assert block("a\n\tb\r\x1b") == "a\n\tb\\r\\x1b"
    assert one_line("abcdef", 4) == "abc…"


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234567, "1,234,567"), (0.123456, "0.1235"), (12345.6, "12,346"), (True, "yes"), (None, "–"), ("a\n", "a\\n"),
     ([1, 2.5], "1, 2.5"), ({"p50": 1.5, "p99": 3}, "p50 1.5, p99 3")],
)  # fmt: skip
def test_figures_as_people_read_them(value: Any, text: str) -> None:
    assert figure(value) == text


def test_recording_imports_neither_rich_nor_junitparser() -> None:
    script = (
        "import sys, harness.record.journal, harness.record.reduce, harness.record.rundir, harness.record.result\n"
        "import harness.record.summary\n"
        "print(sorted({'rich', 'junitparser', 'textual'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
