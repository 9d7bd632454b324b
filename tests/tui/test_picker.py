"""Choosing which run to watch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.widgets import OptionList

from harness.cli.watch import _choose
from harness.errors import UsageError
from harness.record.glance import glance
from harness.record.rundir import RunDirectory
from harness.tui.picker import RunPicker, line

pytestmark = pytest.mark.anyio


async def test_enter_chooses_and_q_does_not(recording: Callable[[str], RunDirectory]) -> None:
    runs = [glance(recording("healthy")), glance(recording("failing"))]
    assert "done" in line(runs[0], 4).plain and "pass" in line(runs[0], 4).plain
    app = RunPicker(runs)
    async with app.run_test() as pilot:
        await pilot.press("down", "enter")
    assert app.return_value == runs[1].directory
    app = RunPicker(runs)
    async with app.run_test() as pilot:
        await pilot.press("q")
    assert app.return_value is None


async def test_each_run_has_one_line(recording: Callable[[str], RunDirectory]) -> None:
    runs = [glance(recording(name)) for name in ("healthy", "failing", "aborted")]
    app = RunPicker(runs)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert app.query_one(OptionList).virtual_size.height == len(runs)


def test_without_a_terminal_the_runs_are_named(recording: Callable[[str], RunDirectory], tmp_path: Path) -> None:
    directory = recording("healthy")
    with pytest.raises(UsageError, match=directory.run_id):
        _choose(tmp_path)
    with pytest.raises(UsageError, match="no runs"):
        _choose(tmp_path / "none")
