"""What plugins add to the palette: found, run, and kept from doing harm."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from textual.command import CommandPalette
from textual.pilot import Pilot

from harness.cli.plugins import doc_lines
from harness.plugin.discovery import Kind
from harness.plugin.registry import Registry
from harness.record.rundir import RunDirectory
from harness.tui.app import RunApp
from harness.tui.look_only import LookOnlyApp
from harness.tui.plugin_commands import find, run
from harness.tui.screens.text import TextScreen

pytestmark = pytest.mark.anyio
Recording = Callable[[str], RunDirectory]

PLUGIN = '''
from harness.api import RunScreen, ScreenCommand, hookimpl


class Heights(ScreenCommand):
    """Shows [bold]the heights[/bold] of all nodes."""

    name = "heights"

    async def run(self, screen: RunScreen) -> None:
        heights = "\\n".join(f"{node.name} {node.height}" for node in screen.state.nodes.values())
        screen.copy(heights)
        screen.notify(f"under the cursor: {screen.node}")
        screen.show("heights", heights + "\\n[red]no markup[/red] \\x1b[2J")


class Fails(ScreenCommand):
    """Is broken."""

    name = "fails"

    async def run(self, screen: RunScreen) -> None:
        raise RuntimeError("[nothing] came of it")


class Holds(ScreenCommand):
    """Holds the workloads."""

    name = "holds"

    async def run(self, screen: RunScreen) -> None:
        await screen.pause()


@hookimpl
def harness_screen_commands():
    return [Heights, Fails, Holds]
'''


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Of a project with a plugin that adds commands and one that cannot be imported."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "screen_plugin.py").write_text(PLUGIN)
    broken = PLUGIN.replace('"heights"', '"gone"').replace('"fails"', '"gone-2"').replace('"holds"', '"gone-3"')
    (folder / "gone_plugin.py").write_text("import a_module_that_is_not_there\n" + broken)
    return Registry((), project_plugins=folder)


def test_they_are_listed_without_being_imported_and_documented_when_asked_for(registry: Registry) -> None:
    assert registry.names(Kind.SCREEN_COMMAND) == ["fails", "gone", "gone-2", "gone-3", "heights", "holds"]
    assert "harness_project_screen_plugin" not in sys.modules
    doc = list(doc_lines(Kind.SCREEN_COMMAND, registry.get(Kind.SCREEN_COMMAND, "heights")))
    assert doc[0] == "heights (screen-command)" and "the heights" in doc[2]


def test_one_that_cannot_be_imported_says_why_and_the_others_are_there(registry: Registry) -> None:
    found = {one.name: one for one in find(lambda: registry)}
    assert "a_module_that_is_not_there" in found["gone"].problem and found["gone"].made is None
    assert found["heights"].made is not None and not found["heights"].problem


async def test_one_is_chosen_in_the_palette_and_shows_its_text(recording: Recording, registry: Registry) -> None:
    app = RunApp(recording("healthy"), lambda: registry)
    async with app.run_test(size=(120, 36)) as pilot:
        await pilot.pause(0.2)
        await pilot.press("ctrl+p")
        await pilot.pause()
        assert isinstance(app.screen, CommandPalette)
        await pilot.press(*"heights")
        await until(pilot, lambda: app.plugin_commands.found is not None)
        await pilot.pause(0.3)
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(app.screen, TextScreen))
        await pilot.pause()
        shown = "\n".join(strip.text for strip in app.screen._compositor.render_strips())
        assert r"[red]no markup[/red] \x1b[2J" in shown and "executor-0 28" in shown
        assert app.clipboard.startswith("validator-0 28\n")
        assert "under the cursor: executor-0" in {one.message for one in app._notifications}
        await pilot.press("escape")
        assert len(app.screen_stack) == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [("fails", "RuntimeError: [nothing] came of it"), ("gone", "a_module_that_is_not_there"), ("holds", "the run")],
)
async def test_one_that_fails_says_so_and_the_screen_goes_on(
    recording: Recording, registry: Registry, name: str, said: str
) -> None:
    app = RunApp(recording("healthy"), lambda: registry)
    async with app.run_test(size=(120, 36)) as pilot:
        [found] = [one for one in find(lambda: registry) if one.name == name]
        await run(app, found)
        await pilot.pause()
        [told] = app._notifications
        assert told.severity == "error" and told.message.startswith(f"{name}: ") and said in told.message
        await pilot.press("question_mark")
        assert len(app.screen_stack) == 2


async def test_who_may_only_look_on_has_none(recording: Recording, registry: Registry) -> None:
    app = LookOnlyApp(recording("healthy"), lambda: registry)
    async with app.run_test(size=(120, 36)) as pilot:
        await pilot.press("ctrl+p")
        await pilot.pause(0.2)
        assert app.plugin_commands.found is None
        titles = {one.title for one in app.get_system_commands(app.screen_stack[0])}
        assert "Show the log" in titles and "Abort the run" not in titles


async def until(pilot: Pilot[int], true: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not true():
            await pilot.pause(0.05)
