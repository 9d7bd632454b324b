"""Whether what is on the screen can be read: contrast of text to what is behind it, light, dark and without colours."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from rich.color_triplet import ColorTriplet
from rich.style import Style
from textual.color import Color

from harness.record.rundir import RunDirectory
from harness.tui.app import RunApp
from harness.tui.look import ACCENT, BAD, DOUBTFUL, GOOD
from harness.tui.moment import Mode
from harness.tui.panels.header import BADGES
from harness.tui.themes import DARK, LIGHT, THEMES

pytestmark = pytest.mark.anyio
LEAST = 4.5
"""WCAG 2.2, 1.4.3."""


def luminance(colour: ColorTriplet) -> float:
    """Relative, as WCAG defines it."""
    red, green, blue = (
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in colour.normalized
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: ColorTriplet, other: ColorTriplet) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def drawn(app: RunApp) -> Iterator[tuple[str, ColorTriplet, ColorTriplet]]:
    """Words on the screen, their colour and what is behind them."""
    for strip in app.screen._compositor.render_strips():
        for text, style, _ in strip:
            if style is not None and any(character.isalnum() for character in text):
                assert style.color and style.bgcolor, text
                assert style.color.triplet and style.bgcolor.triplet, f"the terminal's own colours: {text}"
                yield text, style.color.triplet, style.bgcolor.triplet


def unreadable(app: RunApp) -> dict[str, float]:
    found = {text: contrast(colour, behind) for text, colour, behind in drawn(app)}
    return {text: ratio for text, ratio in found.items() if ratio < LEAST}


@pytest.mark.parametrize("no_colour", [False, True], ids=["colours", "NO_COLOR"])
@pytest.mark.parametrize("theme", [DARK, LIGHT])
@pytest.mark.parametrize("name", ["failing", "partitioned"])
async def test_everything_can_be_read(
    recording: Callable[[str], RunDirectory], monkeypatch: pytest.MonkeyPatch, name: str, theme: str, no_colour: bool
) -> None:
    if no_colour:
        monkeypatch.setenv("NO_COLOR", "1")
    else:
        monkeypatch.delenv("NO_COLOR", raising=False)
    app = RunApp(recording(name))
    async with app.run_test(size=(200, 60)) as pilot:
        app.theme = theme
        await pilot.pause(0.2)
        assert not unreadable(app)
        for key in ("question_mark", "ctrl+p", "enter"):
            await pilot.press(key)
            await pilot.pause(0.1)
            assert len(app.screen_stack) == 2 and not unreadable(app), key
            await pilot.press("escape")
            await pilot.pause()
        for key in ("4", "slash"):
            await pilot.press(key)
            await pilot.pause(0.1)
            assert not unreadable(app), key
        if no_colour:
            assert all(len(set(colour)) == 1 for _, *colours in drawn(app) for colour in colours), "all is grey"


@pytest.mark.parametrize("theme", [DARK, LIGHT])
async def test_states_can_be_read_on_all_that_may_be_behind_them(
    recording: Callable[[str], RunDirectory], theme: str
) -> None:
    app = RunApp(recording("healthy"))
    async with app.run_test() as pilot:
        app.theme = theme
        await pilot.pause()
        behind = [app.theme_variables[name] for name in ("background", "surface", "cursor-line")]
        for style in (GOOD, DOUBTFUL, BAD, ACCENT, *(style for _, style in BADGES.values())):
            colour = Style.parse(style).color
            assert colour is not None
            for one in behind:
                ground = Style.parse(f"on {one}").bgcolor
                assert ground is not None
                assert contrast(colour.get_truecolor(app.ansi_theme), ground.get_truecolor()) >= LEAST, (style, one)


def test_badges_say_in_words_what_they_are() -> None:
    assert set(BADGES) == set(Mode) and all(mode.value in text for mode, (text, _) in BADGES.items())


def test_edges_of_panels_can_be_seen() -> None:
    """WCAG 2.2, 1.4.11."""
    for theme in THEMES:
        colours = {**theme.to_color_system().generate(), **theme.variables}
        edge, focused, behind = (
            Color.parse(colours[name]).rich_color.get_truecolor() for name in ("edge", "edge-focused", "background")
        )
        assert min(contrast(edge, behind), contrast(focused, behind)) >= 3, theme.name
