"""The last line: it tells the keys of where one is, and is clicked on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from textual.command import CommandPalette
from textual.widgets import Input

from harness.record.rundir import RunDirectory
from harness.tui.app import RunApp
from harness.tui.key_line import KeyLine

pytestmark = pytest.mark.anyio


async def test_a_click_on_a_key_is_as_good_as_the_key(recording: Callable[[str], RunDirectory]) -> None:
    app = RunApp(recording("healthy"))
    async with app.run_test(size=(120, 36)) as pilot:
        await pilot.pause(0.2)
        line = app.query_one(KeyLine)
        assert "Search" not in line.render().plain
        await pilot.press("4")
        await pilot.pause(0.2)
        said = line.render().plain
        await pilot.click(KeyLine, offset=(said.index("/ Search"), 0))
        await pilot.pause(0.2)
        assert app.query_one("#log-input", Input).has_focus
        await pilot.click(KeyLine, offset=(said.index("^p palette"), 0))
        await pilot.pause(0.2)
        assert isinstance(app.screen, CommandPalette)


async def test_where_there_is_little_room_the_palette_is_still_told(recording: Callable[[str], RunDirectory]) -> None:
    app = RunApp(recording("healthy"))
    async with app.run_test(size=(40, 24)) as pilot:
        await pilot.pause(0.2)
        said = app.query_one(KeyLine).render()
        assert said.plain.endswith("^p palette ") and said.cell_len == 40
