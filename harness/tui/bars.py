"""Small charts of text."""

from __future__ import annotations

from collections.abc import Sequence

LEVELS = "▁▂▃▄▅▆▇█"


def column(value: float, top: float, rows: int) -> list[str]:
    """A column of blocks, `rows` high, from the top down. Anything above nought is seen."""
    eighths = round(value / top * rows * 8) if top > 0 else 0
    eighths = min(rows * 8, max(1, eighths)) if value > 0 else 0
    cells = []
    for row in reversed(range(rows)):
        filled = min(8, max(0, eighths - row * 8))
        cells.append(LEVELS[filled - 1] if filled else " ")
    return cells


def chart(values: Sequence[float | None], top: float, rows: int) -> list[str]:
    """Lines of a bar chart, from the top down, a column a value; None leaves a gap."""
    columns = [column(value, top, rows) if value is not None else [" "] * rows for value in values]
    return ["".join(one[row] for one in columns) for row in range(rows)]


def gauge(share: float, width: int) -> str:
    """How much of something is done."""
    filled = min(width, max(0, round(share * width)))
    return "━" * filled + "╌" * (width - filled)
