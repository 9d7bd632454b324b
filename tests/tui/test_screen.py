"""What is on the screen, at three sizes, of recorded real runs; and what keys do."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anyio
import pytest
from syrupy.assertion import SnapshotAssertion
from textual.binding import Binding
from textual.command import CommandPalette
from textual.events import Key
from textual.keys import key_to_character
from textual.widgets import Button, Input, OptionList

from harness.control.client import ControlError
from harness.control.protocol import FaultRequest
from harness.record.codec import encode
from harness.record.events import ClockMeasured, Recorded
from harness.record.owner import Owner
from harness.record.rundir import RunDirectory
from harness.tui.app import RunApp
from harness.tui.key_line import KeyLine
from harness.tui.lines import Lines
from harness.tui.log_panel import LogPanel
from harness.tui.moment import Mode
from harness.tui.palette import COMMANDS, LOG_COMMANDS
from harness.tui.panels import header
from harness.tui.screens.choice import Choice
from harness.tui.screens.faults import FaultScreen
from harness.tui.screens.help import HelpScreen
from harness.tui.screens.node import NodeScreen
from harness.tui.screens.pick import Names, Pick

pytestmark = pytest.mark.anyio
Recording = Callable[[str], RunDirectory]
SIZES = [(80, 24), (120, 36), (200, 60)]
RUNS = ["healthy", "failing", "aborted", "partitioned", "two_hundred"]


def screen(app: RunApp) -> str:
    """What a person reads, line by line."""
    height = app.size.height
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in lines[:height])


async def settled(app: RunApp, pilot: Any) -> None:
    """All of the journal is read and drawn."""
    await pilot.pause()
    while app.watching.advance(0.0) or app.query_one(LogPanel).advance(float("inf")):
        pass
    for _ in range(2):  # what is drawn first may want more room
        app.draw()
        await pilot.pause()


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


class Asked:
    """In the place of a run's control socket: remembers what was asked, or says no."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.refuses = ""

    async def _do(self, what: Any) -> None:
        if self.refuses:
            raise ControlError(self.refuses)
        self.said.append(what)

    async def pause(self) -> None:
        await self._do("pause")

    async def resume(self) -> None:
        await self._do("resume")

    async def abort(self) -> None:
        await self._do("abort")

    async def inject(self, request: FaultRequest) -> None:
        await self._do(request)

    async def faults(self) -> list[dict[str, Any]]:
        return [
            {"name": "kill", "about": "SIGKILL: each target's process ends.", "options": {}, "why": ""},
            {"name": "partition", "about": "Parts.", "options": {}, "why": "deployed without link-control"},
        ]


@pytest.fixture
def live(recording: Recording) -> tuple[RunApp, Asked]:
    """A run that goes on, as far as can be told: this process controls it."""
    directory = recording("healthy")
    directory.controller.write_text(json.dumps(asdict(Owner.current())))
    lines = directory.journal.read_bytes().splitlines(keepends=True)
    directory.journal.write_bytes(b"".join(lines[:120]))
    app, asked = RunApp(directory), Asked()
    app.client = asked  # type: ignore[assignment]
    return app, asked


async def test_space_freezes_the_display_and_p_pauses_the_run(live: tuple[RunApp, Asked]) -> None:
    app, asked = live
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(app, pilot)
        assert "LIVE" in screen(app)
        await pilot.press("space")
        await pilot.pause()
        assert app.watching.mode is Mode.FROZEN and "FROZEN" in screen(app) and not asked.said
        await pilot.press("space", "p")
        await pilot.pause()
        assert asked.said == ["pause"] and app.watching.mode is Mode.LIVE


async def test_left_and_right_and_a_click_on_the_time_line_seek(recording: Recording) -> None:
    app = RunApp(recording("healthy"))
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(app, pilot)
        end = app.watching.moment.t
        await pilot.press("left")
        assert app.watching.moment.t == pytest.approx(end - 5)
        await pilot.press("right", "right")
        assert app.watching.moment.t == pytest.approx(end)
        await pilot.press("shift+left")
        assert app.watching.moment.t == 0.0
        await pilot.press("l")
        assert app.watching.shows_all
        await pilot.click("#timeline", offset=(60, 1))
        assert 0.3 * end < app.watching.moment.t < 0.7 * end


async def test_brackets_change_the_speed_of_a_replay(recording: Recording) -> None:
    app = RunApp(recording("healthy"), replay=True)
    async with app.run_test(size=(120, 36)) as pilot:
        await pilot.press("right_square_bracket", "right_square_bracket")
        assert app.watching.speed == 4.0
        await pilot.press("left_square_bracket")
        assert app.watching.speed == 2.0


async def test_aborting_is_asked_for_and_letting_go_on_is_the_default(live: tuple[RunApp, Asked]) -> None:
    app, asked = live
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(app, pilot)
        await pilot.press("a")
        await pilot.pause()
        assert isinstance(app.screen, Choice)
        focused = app.focused
        assert isinstance(focused, Button) and "Let it go on" in str(focused.label)
        await pilot.press("enter")
        assert not asked.said
        await pilot.press("a", "a")
        await pilot.pause()
        assert asked.said == ["abort"]


async def test_leaving_a_run_leaves_it_running_unless_told_otherwise(live: tuple[RunApp, Asked]) -> None:
    app, asked = live
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(app, pilot)
        await pilot.press("q")
        await pilot.pause()
        assert isinstance(app.screen, Choice)
        await pilot.press("escape")
        assert app.is_running and not app.is_left_running
        await pilot.press("q", "enter")
        await pilot.pause()
    assert app.is_left_running and not asked.said


async def test_a_run_that_is_over_is_left_at_once(recording: Recording) -> None:
    app = RunApp(recording("healthy"))
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(app, pilot)
        await pilot.press("p", "a", "f")  # there is nothing to steer: said, and nothing else
        await pilot.pause()
        assert len(app.screen_stack) == 1
        await pilot.press("q")
    assert not app.is_left_running and app.return_value == 0


async def test_a_fault_is_chosen_spelled_out_and_asked_for(live: tuple[RunApp, Asked]) -> None:
    app, asked = live
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(app, pilot)
        await pilot.press("f")
        await pilot.pause()
        assert isinstance(app.screen, FaultScreen)
        faults = app.screen.query_one("#fault", OptionList)
        assert [option.disabled for option in faults.options] == [False, True]
        faults.highlighted = 0
        app.screen.query_one("#targets", Names).deselect_all()
        await pilot.pause()
        assert "choose the nodes" in screen(app)
        app.screen.query_one("#targets", Names).select("validator-1")
        app.screen.query_one("#duration", Input).value = "7s"
        app.screen.query_one("#options", Input).value = "ready_timeout=20s"
        await pilot.pause()
        assert "kill of validator-1 for 7s, then healed" in screen(app)
        await pilot.press("ctrl+s")
        await pilot.pause()
        await app.workers.wait_for_complete()
    assert asked.said == [FaultRequest("kill", ("validator-1",), 7.0, {"ready_timeout": "20s"})]


async def test_what_the_run_refuses_is_said(live: tuple[RunApp, Asked]) -> None:
    app, asked = live
    asked.refuses = "[red]no[/red]"
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await settled(app, pilot)
        await pilot.press("p")
        with anyio.fail_after(20):
            while "[red]no[/red]" not in screen(app):
                await pilot.pause(0.05)


async def test_enter_opens_the_node_under_the_cursor_with_its_log(recording: Recording) -> None:
    directory = recording("healthy")
    directory.log("executor-1").write_bytes(b"first\n\x1b[2J[bold]harmless[/bold]\n")
    app = RunApp(directory)
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(app, pilot)
        await pilot.press("down", "enter")
        await pilot.pause(0.1)
        assert isinstance(app.screen, NodeScreen) and app.screen.node == "executor-1"
        shown = screen(app)
        assert r"\x1b[2J[bold]harmless[/bold]" in shown and "harness logs" in shown
        await pilot.press("escape")
        assert len(app.screen_stack) == 1


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


async def test_the_commands_of_a_node_are_copied(recording: Recording) -> None:
    app = RunApp(recording("two_hundred"))
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(app, pilot)
        app.push_screen(NodeScreen("executor-7"))
        await pilot.press("c")
        assert app.clipboard == "cd runs/2026-11-23T02-11-50-two-hundred-ff75/nodes/executor-7"
        await pilot.press("y")
        assert app.clipboard == f"harness logs {app.watching.directory.path} executor-7 -f"


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


async def test_the_log_is_searched_and_filtered(recording: Recording) -> None:
    directory = recording("healthy")
    began = json.loads(directory.journal.read_text().splitlines()[0])["at"]
    directory.log("executor-1").write_text("".join(f"{began + i:.3f} INFO line {i}\n" for i in range(20)))
    app = RunApp(directory)
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(app, pilot)
        await pilot.press("4", "slash", *"line 1[37]", "enter")
        await settled(app, pilot)
        lines = app.query_one("#log-lines", Lines)
        assert "line 17" in lines.source.line(lines.cursor, 120).plain
        await pilot.press("N")
        await settled(app, pilot)
        assert "line 13" in lines.source.line(lines.cursor, 120).plain
        await pilot.press("n")
        await settled(app, pilot)
        assert "line 17" in lines.source.line(lines.cursor, 120).plain
        await pilot.press("ampersand", *"line 1.", "enter")
        await settled(app, pilot)
        assert len(lines.source) == 10
        await pilot.press("o")
        await pilot.pause()
        assert isinstance(app.screen, Pick)
        app.screen.query_one(Names).deselect("executor-1")
        await pilot.press("enter")
        await settled(app, pilot)
        assert len(lines.source) == 0


async def test_s_saves_a_picture_in_the_runs_folder(recording: Recording) -> None:
    app = RunApp(recording("healthy"))
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(app, pilot)
        await pilot.press("s")
        await pilot.pause()
    [picture] = app.watching.directory.path.glob("*.svg")
    assert "quickstart" in picture.read_text()


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


def actions_of(owner: type[RunApp] | type[LogPanel]) -> set[str]:
    return {binding.action for binding in owner.BINDINGS if isinstance(binding, Binding)}


async def test_the_palette_has_everything_that_keys_do(live: tuple[RunApp, Asked]) -> None:
    app, asked = live
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(app, pilot)
        assert {action for _, _, action in COMMANDS} == actions_of(RunApp)
        assert {action for _, _, action in LOG_COMMANDS} == actions_of(LogPanel)
        await pilot.press("ctrl+p")
        await pilot.pause()
        assert isinstance(app.screen, CommandPalette)
        await pilot.press(*"pause the run")
        with anyio.fail_after(20):
            while not asked.said:
                await pilot.pause(0.1)
                await pilot.press("enter")
    assert asked.said[0] == "pause"


async def test_t_is_light_and_dark_again(recording: Recording) -> None:
    app = RunApp(recording("healthy"))
    async with app.run_test(size=(120, 36)) as pilot:
        was = app.current_theme.dark
        await pilot.press("t")
        assert app.current_theme.dark is not was
        await pilot.press("t")
        assert app.current_theme.dark is was


async def test_x_exports_the_run_as_one_file(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = RunApp(recording("healthy"))
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(app, pilot)
        await pilot.press("x")
        await app.workers.wait_for_complete()
    with tarfile.open(tmp_path / f"{app.watching.directory.run_id}.tar.gz") as archive:
        assert f"{app.watching.directory.run_id}/journal.jsonl" in archive.getnames()


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


async def typed_at_once(app: RunApp, pilot: Any, *keys: str) -> None:
    """As from a driver: all of them are there before the first is answered."""
    for key in keys:
        app.post_message(Key(key, key_to_character(key)))
    with anyio.fail_after(20):
        await pilot.pause()
        while app.is_at_keys:
            await pilot.pause(0.02)


async def test_what_is_typed_at_once_goes_where_the_keys_before_have_led(recording: Recording) -> None:
    app = RunApp(recording("healthy"))
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(app, pilot)
        await typed_at_once(app, pilot, "4", "slash", *"peers", "home", "a")
        field = app.query_one("#log-input", Input)
        assert field.has_focus and field.value == "apeers"
        await typed_at_once(app, pilot, "enter", "1", "down", "enter", "q", "question_mark")
        assert isinstance(app.screen, HelpScreen), "q left the node's screen, not the app"


async def test_the_first_that_is_seen_has_its_size(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    facts = header.facts
    monkeypatch.setattr(header, "facts", lambda moment, width: drawn.append(width) or facts(moment, width))
    app = RunApp(recording("healthy"))
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(app, pilot)
    assert drawn and set(drawn) == {118}


async def test_commands_of_the_log_can_be_had_from_the_palette(recording: Recording) -> None:
    app = RunApp(recording("healthy"))
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(app, pilot)
        [search] = [one for one in app.get_system_commands(app.screen) if one.title == "Log: search"]
        await search.callback()
        await pilot.pause()
        assert app.query_one("#log-input", Input).has_focus and app.query_one("#log").display


async def test_on_another_screen_the_palette_has_what_can_be_done_there(recording: Recording) -> None:
    app = RunApp(recording("healthy"))
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(app, pilot)
        await pilot.press("enter")
        await pilot.pause()
        assert isinstance(app.screen, NodeScreen)
        titles = {one.title for one in app.get_system_commands(app.screen)}
        assert {"Copy command", "Back", "Export the run"} <= titles and "Show the log" not in titles


async def test_help_tells_of_where_one_is_and_keys_seek_there_too(recording: Recording) -> None:
    app = RunApp(recording("failing"))
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(app, pilot)
        await pilot.press("question_mark")
        await pilot.pause()
        assert "whose lines: choose nodes" in screen(app) and "the node under the cursor" in screen(app)
        await pilot.press("escape", "4", "question_mark")
        await pilot.pause()
        assert screen(app).index("whose lines") < screen(app).index("back to the newest")
        await pilot.press("escape", "1", "enter")
        await pilot.pause(0.3)
        assert isinstance(app.screen, NodeScreen)
        line = app.screen.query_one(KeyLine).render().plain
        assert "Copy command" in line and "Fault" not in line  # the run is over
        end = app.watching.moment.t
        await pilot.press("left")
        assert app.watching.moment.t == pytest.approx(end - 5)
        await pilot.press("question_mark")
        await pilot.pause()
        assert isinstance(app.screen, HelpScreen) and "copy the command that leads to the node" in screen(app)
        await pilot.press("escape")
        assert isinstance(app.screen, NodeScreen)


async def test_the_palette_has_nothing_that_steers_a_run_that_is_over(recording: Recording) -> None:
    app = RunApp(recording("failing"))
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(app, pilot)
        here = [command.title for command in app.get_system_commands(app.screen)]
        assert "Show nodes" in here and not any("Abort" in title or "fault" in title for title in here)
        await app.push_screen(NodeScreen("validator-1"))
        there = [command.title for command in app.get_system_commands(app.screen)]
        assert "Copy command" in there and "Fault…" not in there and len(there) == len(set(there))
        assert {"Help", "Export the run"} <= set(there)


async def test_keys_of_a_list_move_its_cursor_and_of_the_time_line_its_moment(recording: Recording) -> None:
    app = RunApp(recording("two_hundred"))
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(app, pilot)
        nodes = app.query_one("#nodes", Lines)
        places = []
        for key in ("down", "pagedown", "end", "up", "pageup", "home"):
            await pilot.press(key)
            places.append(nodes.cursor)
        assert places[0] == 1 and 1 < places[1] < 40 and places[2] == 199 and places[3] == 198
        assert 160 < places[4] < 198 and places[5] == 0
        await pilot.press("shift+left", "left", "shift+right")
        assert app.watching.moment.t == pytest.approx(app.watching.end - 5)
        await pilot.press("escape")
        assert app.watching.shows_all


async def test_keys_of_the_run_work_on_a_nodes_screen(live: tuple[RunApp, Asked], tmp_path: Path) -> None:
    app, asked = live
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(app, pilot)
        await app.push_screen(NodeScreen("validator-1"))
        await pilot.press("space")
        assert app.watching.mode is Mode.FROZEN
        await pilot.press("l")
        assert app.watching.mode is Mode.LIVE and app.watching.shows_all
        await pilot.press("left", "shift+left", "right", "shift+right")
        assert app.watching.mode is Mode.FROZEN
        was = app.current_theme.dark
        await pilot.press("t")
        assert app.current_theme.dark is not was
        await pilot.press("s")
        await pilot.pause()
        assert list(app.watching.directory.path.glob("*.svg"))
        await pilot.press("f")
        await pilot.pause()
        assert isinstance(app.screen, FaultScreen) and app.screen.query_one("#targets", Names).selected == [
            "validator-1"
        ]
    assert not asked.said


async def test_e_goes_through_the_levels_of_the_log(recording: Recording) -> None:
    app = RunApp(recording("failing"))
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(app, pilot)
        await pilot.press("4")
        counts = []
        for _ in range(5):
            await pilot.press("e")
            await settled(app, pilot)
            counts.append(len(app.query_one("#log-lines", Lines).source))
        assert counts[0] >= counts[1] > counts[2] and counts[4] == counts[0], counts
