"""What keys do, on every screen."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from textual.binding import Binding
from textual.command import CommandPalette
from textual.events import Key
from textual.keys import key_to_character
from textual.widgets import Button, Input, OptionList

from harness.control.protocol import FaultRequest
from harness.record.rundir import RunDirectory
from harness.tui.app import RunApp
from harness.tui.key_line import KeyLine
from harness.tui.lines import Lines
from harness.tui.log_panel import LogPanel
from harness.tui.moment import Mode
from harness.tui.palette import COMMANDS, LOG_COMMANDS
from harness.tui.screens.choice import Choice
from harness.tui.screens.faults import FaultScreen
from harness.tui.screens.help import HelpScreen
from harness.tui.screens.node import NodeScreen
from harness.tui.screens.pick import Names, Pick
from tests.tui.looking import Asked, screen, settled

pytestmark = pytest.mark.anyio
Recording = Callable[[str], RunDirectory]


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


async def test_the_commands_of_a_node_are_copied(recording: Recording) -> None:
    app = RunApp(recording("two_hundred"))
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(app, pilot)
        app.push_screen(NodeScreen("executor-7"))
        await pilot.press("c")
        assert app.clipboard == "cd runs/2026-11-23T02-11-50-two-hundred-ff75/nodes/executor-7"
        await pilot.press("y")
        assert app.clipboard == f"harness logs {app.watching.directory.path} executor-7 -f"


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


@pytest.mark.parametrize(
    ("line", "said", "warning", "back"), [(14, "5 of 125", 3, 14), (16, "settle", 3, 14), (8, "step 1", 0, 9)]
)
async def test_other_lines_of_the_log_are_shown_from_where_one_is(
    recording: Recording, line: int, said: str, warning: int, back: int
) -> None:
    app = RunApp(recording("failing"))
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(app, pilot)
        lines = app.query_one("#log-lines", Lines)
        await pilot.press("4", "home", *["down"] * line)
        assert said in lines.source.line(lines.cursor, 120).plain
        gone_to = []
        for _ in ("info and worse", "warnings and errors", "errors", "all"):
            await pilot.press("e")
            await settled(app, pilot)
            assert not lines.follow
            gone_to.append(lines.cursor)
        # there is no error in it: one comes back to the warning that one was at
        assert gone_to == [line, warning, 0, back], gone_to
