"""What panels tell in the room that they have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.record.codec import encode
from harness.record.events import PhaseEnded, PhaseStarted, Recorded, WorkloadProgress
from harness.record.rundir import RunDirectory
from harness.record.state import ExpectationState, NodeStatus, PhaseState, RunState
from harness.tui.app import RunApp
from harness.tui.history import History, Series
from harness.tui.key_line import KeyLine
from harness.tui.lines import Lines
from harness.tui.moment import Mode, Moment
from harness.tui.panel import Panel
from harness.tui.panels.expectations import expectations
from harness.tui.panels.header import header, phases
from harness.tui.panels.nodes import NodeTable, rows
from harness.tui.panels.workloads import workloads
from harness.tui.watching import Watching

Recording = Callable[[str], RunDirectory]


def moment_of(state: RunState, series: Series | None = None, t: float = 9.0) -> Moment:
    return Moment(state, series or Series(), t, t, 0.0, Mode.LIVE)


def asked(**verdicts: str) -> Moment:
    """Expectations that were judged so."""
    made = [
        ExpectationState(name, verdict, f"what was seen of {name} " + "and more " * 12, source="/a/b/play.toml:7:3")
        for name, verdict in verdicts.items()
    ]
    return moment_of(RunState(expectations={one.expectation: one for one in made}))


def test_what_failed_comes_first_then_what_is_unknown() -> None:
    said = expectations(asked(good="pass", doubtful="unknown", wrong="fail"), 100, 3).plain.splitlines()
    assert [line.split()[2] for line in said] == ["wrong", "doubtful", "good"]


@pytest.mark.parametrize("width", [50, 56, 76, 100, 160])
def test_what_is_wrong_tells_what_was_seen_and_where_it_is_asked_for(width: int) -> None:
    lines = expectations(asked(wrong="fail", good="pass"), width, 6).plain.splitlines()
    assert len(lines) <= 6 and all(len(line) <= width for line in lines)
    assert lines[0].endswith("play.toml:7:3")
    assert "what was seen of wrong" in " ".join(" ".join(lines[:-1]).replace("play.toml:7:3", "").split())


def test_those_for_which_there_is_no_room_are_counted() -> None:
    lines = expectations(asked(a="pass", b="pass", c="pass", d="unknown", e="fail"), 60, 3).plain.splitlines()
    assert len(lines) == 3 and "fail" in lines[0] and "unknown" in lines[1] and lines[2] == "… and 3 pass"


def test_all_is_told_of_all_where_there_is_room() -> None:
    words = expectations(asked(a="pass", b="pass"), 80, 20).plain.split()
    assert words.count("more") == 24 and words.count("play.toml:7:3") == 2 and "…" not in " ".join(words)


def loaded(tmp_path: Path, *, is_over: bool, names: tuple[str, ...] = ("w",)) -> Moment:
    """50 a second were offered for ten seconds, of which the last two are long gone."""
    events = [Recorded(1, 1000.0, 0.0, PhaseStarted("drive", 20.0))]
    for second in range(21):
        figures = {"offered": 50 * min(second, 10), "accepted": 50 * min(second, 10)}
        for name in names:
            events.append(Recorded(len(events) + 1, 1000.0 + second, float(second), WorkloadProgress(name, figures)))
    if is_over:
        events.append(Recorded(len(events) + 1, 1021.0, 21.0, PhaseEnded("drive", True, 21.0)))
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(b"".join(map(encode, events)))
    history = History(journal)
    for recorded in events:
        history.add(0, recorded)
    return moment_of(history.state, history.series, 21.0)


@pytest.mark.parametrize(("is_over", "offered"), [(False, "0"), (True, "50")])
def test_when_the_load_is_over_its_mean_is_told(tmp_path: Path, is_over: bool, offered: str) -> None:
    heading, line = workloads(loaded(tmp_path, is_over=is_over), 60, 9).plain.splitlines()
    assert heading.startswith("mean of drive") == is_over
    assert line.split()[2] == offered


def test_workloads_for_which_there_is_no_room_are_counted(tmp_path: Path) -> None:
    lines = workloads(loaded(tmp_path, is_over=True, names=("a", "b", "c", "d")), 60, 4).plain.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["a", "b"] and lines[3] == "… and 2 more"


def test_the_phase_that_goes_on_is_seen_where_there_is_little_room(recording: Recording) -> None:
    run = Watching(recording("failing"), lambda recorded, state: None)
    while run.advance(0.0):
        pass
    moment = run.moment
    run.close()
    goes_on = replace(moment.state.phases[-1], ok=None)
    still = replace(moment, state=replace(moment.state, phases=(*moment.state.phases[:-1], goes_on)))
    said = phases(still, 60).plain
    assert len(said) <= 60 and said.startswith("… › ") and f"▸ {goes_on.phase}" in said


@pytest.mark.anyio
@pytest.mark.parametrize("size", [(40, 10), (80, 24), (120, 36)])
async def test_each_panel_has_room_for_something(recording: Recording, size: tuple[int, int]) -> None:
    app = RunApp(recording("failing"))
    async with app.run_test(size=size) as pilot:
        while app.watching.advance(0.0):
            pass
        for key, ids in (("1", ["nodes"]), ("2", ["workloads", "intervals"]), ("3", ["checks"]), ("4", ["log-lines"])):
            await pilot.press(key)
            for _ in range(3):
                app.draw()
                await pilot.pause()
            for one in ids:
                panel = app.query_one(f"#{one}")
                assert isinstance(panel, Panel | Lines) and panel.size.height > 0, one
                assert app.screen.find_widget(panel).visible_region.height == panel.outer_size.height, one


@pytest.mark.anyio
async def test_of_a_run_that_is_over_no_keys_are_told_that_steer_it(recording: Recording) -> None:
    app = RunApp(recording("healthy"))
    async with app.run_test(size=(120, 36)) as pilot:
        await pilot.pause(0.3)
        said = app.query_one(KeyLine).render().plain
        assert "Play" in said and "[ ] Speed" in said and not {"Pause", "Fault…", "Abort…"} & set(said.split())


def test_how_much_is_left_of_a_record_is_told_once() -> None:
    """0:18 of 1:47, 0:44 left: what is left of the drive is no news where it is known how the run went on."""
    drive = PhaseState("drive", started_at=2.0, budget=60.0)
    run = moment_of(RunState(phases=(drive,)), t=18.0)
    assert "0:44 left" in header(run, 100).plain
    record = header(replace(run, mode=Mode.REPLAY, end=107.0), 100).plain
    assert "0:18 of 1:47" in record and "left" not in record


def table(*nodes: NodeStatus) -> NodeTable:
    return NodeTable(rows(RunState(nodes={node.name: node for node in nodes})))


@pytest.mark.parametrize("width", [36, 56, 76, 116, 236])
def test_of_nodes_the_most_is_told_first(width: int) -> None:
    fine = NodeStatus("validator-0", "validator", "host-a", state="running", height=1234, hash="h", peers=3, cpu=0.5)
    wrong = NodeStatus("validator-1", "validator", "host-b", state="exited", exits=1, last_error="panic: out of memory")
    shown = table(fine, wrong)
    lines = [shown.heading(width).plain, shown.line(0, width).plain, shown.line(1, width).plain]
    assert all(len(line) <= width for line in lines)
    assert lines[1].startswith("validator-1") and "✗ exited" in lines[1] and "1,234" in lines[2]
    if width >= 56:
        assert "panic: out" in lines[1] and "peers" in lines[0]
    if width >= 116:
        assert {"role", "machine", "version", "exits", "cpu", "memory"} <= set(lines[0].split())
        assert "panic: out of memory" in lines[1] and "host-b" in lines[1]


def test_an_error_begins_with_what_went_wrong() -> None:
    node = NodeStatus("a", state="running", height=1, hash="h", last_error="127.0.0.1:30868: ReadTimeout: 3 s")
    assert "ReadTimeout" in table(node).line(0, 56).plain and "127.0.0.1" not in table(node).line(0, 236).plain


def test_without_trouble_there_is_no_column_for_it() -> None:
    fine = NodeStatus("a", "validator", "m", state="running", height=1, hash="h")
    assert "trouble" not in table(fine).heading(200).plain
