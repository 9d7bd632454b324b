"""What is on the screen, at three sizes, of recorded real runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from syrupy.assertion import SnapshotAssertion

from harness.record.codec import encode
from harness.record.events import ClockMeasured, Recorded
from harness.record.rundir import RunDirectory
from harness.tui.app import RunApp
from harness.tui.lines import Lines
from harness.tui.log_panel import LogPanel
from harness.tui.panels import header
from harness.tui.screens.help import HelpScreen
from harness.tui.screens.node import NodeScreen
from tests.tui.looking import screen, settled

pytestmark = pytest.mark.anyio
Recording = Callable[[str], RunDirectory]
SIZES = [(80, 24), (120, 36), (200, 60)]
RUNS = ["healthy", "failing", "aborted", "partitioned", "two_hundred"]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", RUNS)
async def test_a_run_at_its_end(
    recording: Recording, snapshot: SnapshotAssertion, name: str, size: tuple[int, int]
) -> None:
    app = RunApp(recording(name))
    async with app.run_test(size=size) as pilot:
        await settled(app, pilot)
        assert screen(app) == snapshot


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_a_moment_amid_a_partition(
    recording: Recording, snapshot: SnapshotAssertion, size: tuple[int, int]
) -> None:
    app = RunApp(recording("partitioned"))
    async with app.run_test(size=size) as pilot:
        await settled(app, pilot)
        fault = next(iter(app.watching.history.state.faults.values()))
        app.watching.seek(fault.reached["proven"] + 1.0)
        app.draw()
        app.query_one(LogPanel).advance(app.watching.moment.t)
        await pilot.pause()
        assert screen(app) == snapshot


@pytest.mark.parametrize("panel", ["2", "3", "4"])
async def test_one_panel_at_a_time_where_there_is_little_room(
    recording: Recording, snapshot: SnapshotAssertion, panel: str
) -> None:
    app = RunApp(recording("failing"))
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(app, pilot)
        await pilot.press(panel)
        await settled(app, pilot)
        assert screen(app) == snapshot


async def test_help_tells_the_keys(recording: Recording, snapshot: SnapshotAssertion) -> None:
    app = RunApp(recording("healthy"))
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(app, pilot)
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        await pilot.pause()
        assert screen(app) == snapshot
        await pilot.press("escape")
        assert not isinstance(app.screen, HelpScreen)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize(("name", "node"), [("two_hundred", "validator-12"), ("failing", "validator-1")])
async def test_a_node_alone(
    recording: Recording,
    snapshot: SnapshotAssertion,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    node: str,
    size: tuple[int, int],
) -> None:
    directory = recording(name)
    if name != "two_hundred":
        directory.log(node).write_text("".join(f"line {i} of its log\n" for i in range(40)))
    monkeypatch.chdir(directory.path.parent)
    app = RunApp(RunDirectory(Path(directory.path.name)))
    async with app.run_test(size=size) as pilot:
        await settled(app, pilot)
        app.push_screen(NodeScreen(node))
        await pilot.pause()
        assert isinstance(app.screen, NodeScreen)
        while app.screen.grow():
            pass
        await pilot.pause()
        assert screen(app) == snapshot


async def test_a_node_as_it_was_amid_a_fault(recording: Recording) -> None:
    app = RunApp(recording("two_hundred"))
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(app, pilot)
        app.watching.seek(61.0)
        app.push_screen(NodeScreen("validator-12"))
        await pilot.pause()
        assert isinstance(app.screen, NodeScreen)
        while app.screen.grow():
            pass
        await pilot.pause()
        shown = screen(app)
        assert "‖ paused" in shown and "pause proven" in shown and "healed" not in shown and "stopped" not in shown
        log = app.screen.query_one("#node-log", Lines).source
        assert len(log) == 10 and "2026-11-23T02:12:34.934Z" in log.line(9, 80).plain  # the last line before the pause


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_of_two_hundred_nodes_those_in_trouble_come_first(recording: Recording, size: tuple[int, int]) -> None:
    app = RunApp(recording("two_hundred"))
    async with app.run_test(size=size) as pilot:
        await settled(app, pilot)
        app.watching.seek(61.0)
        app.draw()
        await pilot.pause()
        rows = [line for line in screen(app).splitlines() if "validator-" in line or "executor-" in line]
        assert ["validator-12" in rows[0], "‖ paused" in rows[0]] == [True, True]
        assert ["validator-14" in rows[1], "‖ paused" in rows[1]] == [True, True]
        assert "executor-0" in rows[2] and "● running" in rows[2]


async def test_what_brings_one_to_a_node_can_be_selected(recording: Recording) -> None:
    app = RunApp(recording("two_hundred"))
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(app, pilot)
        await app.push_screen(NodeScreen("executor-7"))
        await pilot.pause()
        row = next(y for y, line in enumerate(screen(app).splitlines()) if " cd runs/" in line)
        about = app.screen.query_one("#about")
        y = row - about.region.y
        await pilot.mouse_down(about, offset=(10, y))
        await pilot.hover(about, offset=(15, y))
        await pilot.mouse_up(about, offset=(15, y))
        await pilot.pause(0.5)  # for the next look at the node, which must not lose what was selected
        assert app.screen.get_selected_text() == "cd run"


async def test_lines_of_a_clock_that_is_off_are_where_they_belong(recording: Recording) -> None:
    directory = recording("healthy")
    began = json.loads(directory.journal.read_text().splitlines()[0])["at"]
    for name, ahead, first in (("validator-0", 0.0, 3), ("validator-1", -7.5, 3.5)):
        lines = (f"{began + ahead + t:.3f} INFO {name} {t:g}\n" for t in (first, first + 1))
        directory.log(name).write_text("".join(lines))
    with directory.journal.open("ab") as file:
        event = ClockMeasured("m", ("validator-1",), -7.5, 0.01)
        file.write(encode(Recorded(99_999, began + 999, 999.0, event)))
    app = RunApp(directory)
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(app, pilot)
        await pilot.press("4", "ampersand", *"INFO", "enter")
        with anyio.fail_after(20):
            while not app.merged.corrected:
                await pilot.pause(0.05)
        await settled(app, pilot)
        source = app.query_one("#log-lines", Lines).source
        lines = [source.line(i, 60).plain.split() for i in range(len(source))]
        assert [("~" in line[0], line[-2:]) for line in lines] == [
            (False, ["validator-0", "3"]),
            (True, ["validator-1", "3.5"]),
            (False, ["validator-0", "4"]),
            (True, ["validator-1", "4.5"]),
        ]
        assert "~ clock corrected: validator-1 +7.5s" in screen(app)
        await app.push_screen(NodeScreen("validator-1"))
        await pilot.pause(0.3)
        assert "clock -7.5s off" in screen(app)


async def test_a_nodes_name_does_nothing_to_the_terminal(recording: Recording) -> None:
    directory = recording("healthy")
    nasty = "a\x1b[2J\u202e[b]c"
    told = directory.journal.read_text().replace('"validator-0"', json.dumps(nasty))
    directory.journal.write_text(told)
    app = RunApp(directory)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await settled(app, pilot)
        await pilot.press("enter")
        await settled(app, pilot)
        screen = app.screen
        assert isinstance(screen, NodeScreen) and screen.node == nasty
        await pilot.press("y")
        await pilot.pause()
        await settled(app, pilot)
        shown = "\n".join(strip.text for strip in app.screen._compositor.render_strips())
    assert "copied: harness logs" in shown and "\\x1b[2J\\u202e[b]c" in shown
    assert not [c for c in shown if not c.isprintable() and c != "\n"]


async def test_files_that_go_away_do_not_take_the_screen_with_them(recording: Recording) -> None:
    directory = recording("healthy")
    directory.log("validator-0").unlink(missing_ok=True)
    directory.log("validator-0").mkdir(parents=True)  # root, too, cannot read this one
    app = RunApp(directory)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await settled(app, pilot)
        assert "log of validator-0 cannot be read" in str(app.query_one(LogPanel).lines.border_title)
        shutil.rmtree(directory.path)
        for key, told in (("left", "no earlier moment can be shown"), ("s", "not saved"), ("x", "not exported")):
            await pilot.press(key)
            await settled(app, pilot)
            await app.workers.wait_for_complete()
            await pilot.pause()
            assert any(told in note.message for note in app._notifications), key
        assert app.watching.moment.state.finish is not None


async def test_a_line_of_a_run_is_never_markup(recording: Recording) -> None:
    directory = recording("healthy")
    hostile = r"[red]x[/red] \u001b]0;t\u0007 [@click=app.quit]y[/]"
    with directory.journal.open("ab") as file:
        for kind in (
            f'"kind":"note","component":"{hostile}","level":"error","message":"{hostile}"',
            f'"kind":"node-changed","node":"executor-1","state":"exited","why":"{hostile}","expected":false',
            f'"kind":"node-measured","node":"executor-0","peers":3,"version":"{hostile}"',
            f'"kind":"violation-seen","expectation":"{hostile}","message":"{hostile}"',
            f'"kind":"phase-started","phase":"{hostile}"',
        ):
            file.write(b'{"seq":9999,"at":1,"t":900.0,' + kind.encode() + b"}\n")
    app = RunApp(directory)
    async with app.run_test(size=(200, 60)) as pilot:
        await settled(app, pilot)
        shown = screen(app)
        assert "[red]x[/red]" in shown and "\x1b" not in shown
        await pilot.press("enter")
        await pilot.pause(0.1)
        assert "[red]x[/red]" in screen(app) and "\x1b" not in screen(app)


async def test_the_first_that_is_seen_has_its_size(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    facts = header.facts
    monkeypatch.setattr(header, "facts", lambda moment, width: drawn.append(width) or facts(moment, width))
    app = RunApp(recording("healthy"))
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(app, pilot)
    assert drawn and set(drawn) == {118}
