"""The time line: phases, faults, blocks and violations over the whole run, and the moment that is looked at."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from harness.record.state import RunState
from harness.tui.bars import LEVELS
from harness.tui.history import Series, spread
from harness.tui.look import ACCENT, BAD, DIM, DOUBTFUL, GOOD
from harness.tui.moment import Moment

LABEL = 8
"""Characters before the line begins."""


def extent(moment: Moment) -> tuple[float, float]:
    """From when to when it goes: until the end that is planned, as long as that lies ahead."""
    return 0.0, max(moment.end, moment.planned_end, 1.0)


def column_of(t: float, moment: Moment, width: int) -> int:
    """Where a moment stands, within the line."""
    start, end = extent(moment)
    return min(width - 1, max(0, int((t - start) / (end - start) * width)))


def moment_of(column: int, moment: Moment, width: int) -> float:
    """Which moment a column is, at its end."""
    start, end = extent(moment)
    return min(moment.end, start + (column + 1) * (end - start) / max(1, width))


def timeline(moment: Moment, latest: RunState, width: int, height: int) -> Text:
    """At most four lines. `latest` is the newest state that is known: faults and phases of it are shown, also those
    after the moment that is looked at."""
    columns = max(1, width - LABEL)
    rows = [
        ("phases", _phases(latest, moment, columns)),
        ("faults", _faults(latest, moment, columns)),
        ("blocks", _blocks(moment.series, moment, columns)),
        ("wrong", _violations(moment.series, moment, columns)),
    ]
    cursor = column_of(moment.t, moment, columns)
    text = Text(no_wrap=True)
    for index, (label, line) in enumerate(_chosen(rows, height)):
        text.append("\n" if index else "")
        text.append(f"{label:<{LABEL}}", DIM)
        line.stylize("reverse", cursor, cursor + 1)
        text.append_text(line)
    return text


def _chosen(rows: list[tuple[str, Text]], height: int) -> list[tuple[str, Text]]:
    """Where there is no room for all: those that tell of trouble first."""
    order = sorted(range(len(rows)), key=lambda index: (3, 0, 2, 1)[index])
    kept = sorted(order[: max(1, height)])
    return [rows[index] for index in kept]


def _phases(state: RunState, moment: Moment, columns: int) -> Text:
    cells = [" "] * columns
    styles = [DIM] * columns
    for index, phase in enumerate(state.phases):
        first = column_of(phase.started_at, moment, columns)
        ends = max(moment.end, phase.started_at) if phase.seconds is None else phase.started_at + phase.seconds
        last = column_of(ends, moment, columns)
        style = BAD if phase.ok is False else (ACCENT if index % 2 else GOOD)
        name = phase.phase[: last - first + 1]
        for offset, column in enumerate(range(first, last + 1)):
            cells[column] = name[offset] if offset < len(name) and name.isprintable() else "─"
            styles[column] = style
    return _styled(cells, styles)


def _faults(state: RunState, moment: Moment, columns: int) -> Text:
    cells, styles = [" "] * columns, [DIM] * columns
    for fault in state.faults.values():
        begun = fault.reached.get("injected", fault.reached.get("intended"))
        if begun is None:
            continue
        ended = fault.reached.get("healed", fault.reached.get("healing-unproven", fault.reached.get("not-applied")))
        first = column_of(begun, moment, columns)
        last = column_of(moment.end if ended is None else ended, moment, columns)
        for column in range(first, last + 1):
            cells[column] = "▓" if cells[column] == "▒" else "▒"
            styles[column] = BAD if fault.broken else DOUBTFUL
    return _styled(cells, styles)


def _blocks(series: Series, moment: Moment, columns: int) -> Text:
    """How many heights came in each stretch."""
    start, end = extent(moment)
    counts = [len(stretch) for stretch in spread(series.intervals, start, end, columns)]
    top = max(counts, default=0)
    cells = [LEVELS[min(7, count * 8 // (top + 1))] if count else " " for count in counts]
    return _styled(cells, [ACCENT] * columns)


def _violations(series: Series, moment: Moment, columns: int) -> Text:
    cells, styles = ["·"] * columns, [DIM] * columns
    for t, _ in series.violations:
        column = column_of(t, moment, columns)
        cells[column], styles[column] = "✗", BAD
    return _styled(cells, styles)


def _styled(cells: list[str], styles: list[str]) -> Text:
    text = Text(no_wrap=True)
    for cell, style in _runs(cells, styles):
        text.append(cell, style)
    return text


def _runs(cells: list[str], styles: list[str]) -> Iterator[tuple[str, str]]:
    """Neighbours of one style together."""
    start = 0
    for index in range(1, len(cells) + 1):
        if index == len(cells) or styles[index] != styles[start]:
            yield "".join(cells[start:index]), styles[start]
            start = index
