"""Light and dark. What panels call green or red is another green in each: with at least 4.5:1 of contrast to what is
behind it (WCAG 2.2, 1.4.3), also under the cursor."""

from __future__ import annotations

from dataclasses import replace

from rich.terminal_theme import TerminalTheme
from textual.theme import BUILTIN_THEMES, Theme

DARK, LIGHT = "harness-dark", "harness-light"


def _rgb(*colours: str) -> list[tuple[int, int, int]]:
    return [(int(one[0:2], 16), int(one[2:4], 16), int(one[4:6], 16)) for one in colours]


def _theme(name: str, like: str, **variables: str) -> Theme:
    variables = {name.replace("_", "-"): value for name, value in variables.items()}
    base = BUILTIN_THEMES[like]
    return replace(base, name=name, variables={**base.variables, **variables})


THEMES = (
    _theme(
        DARK, "textual-dark",
        cursor_line="#0b2c44", block_cursor_background="#0a5a9c", block_cursor_foreground="#ffffff",
        edge="#5f707a", edge_focused="#ffa62b",
    ),
    _theme(
        LIGHT, "textual-light",
        cursor_line="#cfd9e1", block_cursor_background="#004578", block_cursor_foreground="#ffffff",
        block_cursor_blurred_background="#cfd9e1", footer_key_foreground="#00457a",
        edge="#6f7b85", edge_focused="#a35a00",
    ),
)  # fmt: skip

# black, red, green, yellow, blue, magenta, cyan, white
_ON_DARK = _rgb("1a1a1a", "ff7b7b", "8fdc5b", "f0bf55", "93b4ff", "dba2ff", "67d3ea", "e0e0e0")
_ON_LIGHT = _rgb("000000", "a01420", "0d5a1e", "694700", "1d43a8", "742783", "00556d", "f7f7f7")
ANSI_DARK = TerminalTheme((18, 18, 18), (224, 224, 224), _ON_DARK, _ON_DARK)
ANSI_LIGHT = TerminalTheme((224, 224, 224), (0, 0, 0), _ON_LIGHT, _ON_LIGHT)
