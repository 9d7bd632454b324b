"""Choosing which run to watch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cli.watch import _choose
from harness.errors import UsageError
from harness.record.glance import glance
from harness.record.rundir import RunDirectory
from harness.tui.picker import RunPicker, line

pytestmark = pytest.mark.anyio


async def test_enter_chooses_and_q_does_not(recording: Callable[[str], RunDirectory]) -> None:
    runs = [glance(recording("healthy")), glance(recording("failing"))]
    assert "done" in line(runs[0]).plain and "pass" in line(runs[0]).plain
    app = RunPicker(runs)
    async with app.run_test() as pilot:
        await pilot.press("down", "enter")
    assert app.return_value == runs[1].directory
    app = RunPicker(runs)
    async with app.run_test() as pilot:
        await pilot.press("q")
    assert app.return_value is None


def test_without_a_terminal_the_runs_are_named(recording: Callable[[str], RunDirectory], tmp_path: Path) -> None:
    directory = recording("healthy")
    with pytest.raises(UsageError, match=directory.run_id):
        _choose(tmp_path)
    with pytest.raises(UsageError, match="no runs"):
        _choose(tmp_path / "none")
