"""Block intervals and loads, over the last while."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich.text import Text

from harness.record.state import WorkloadState
from harness.tui.bars import LEVELS, chart
from harness.tui.history import Track, percentile, spread
from harness.tui.look import ACCENT, BAD, DIM, GOOD, cut, number, span
from harness.tui.moment import Moment

RATE_OVER = 10.0
"""Seconds over which a rate is taken."""
WINDOW = 120.0
"""Seconds that a chart looks back, at least."""
_NAME = 15


@dataclass(frozen=True, slots=True)
class Column:
    """A figure of workloads, shown from `least` columns of room on."""

    title: str
    figure: str
    width: int
    is_rate: bool = False
    least: int = 0


LATENCY = ("p50", "p99")
_COLUMNS = (
    Column("asked/s", "target", 8, least=60),
    Column("offered/s", "offered", 10, is_rate=True),
    Column("in block/s", "included", 11, is_rate=True),
    Column("failed", "troubles", 7),
    Column("p50", "p50", 8, least=68),
    Column("p99", "p99", 8, least=68),
    Column("accepted", "accepted", 10, least=90),
    Column("included", "included", 10, least=90),
)


def window(moment: Moment, columns: int) -> tuple[float, float]:
    """From when to when charts show: a second a column, or less often where that would not fill two minutes."""
    return moment.t - max(WINDOW, float(columns)), moment.t


def block_intervals(moment: Moment, width: int, height: int) -> Text:
    """A column a stretch of time, as high as its longest interval; the last line tells the figures."""
    start, end = window(moment, width - 8)
    start = max(start, 0.0)
    _, values = moment.series.intervals.between(start, end)
    if not values:
        return Text("no two blocks yet", DIM)
    expected = moment.state.run.block_interval if moment.state.run else 0.0
    columns, rows = max(1, width - 8), max(1, height - 1)
    longest = [max(stretch, default=None) for stretch in spread(moment.series.intervals, start, end, columns)]
    top = max([value for value in longest if value is not None] + [1.5 * expected], default=1.0)
    text = Text(no_wrap=True)
    for index, line in enumerate(chart(longest, top, rows)):
        label = span(top) if index == 0 else "0s" if index == rows - 1 and rows > 1 else ""
        text.append(f"{cut(label, 6):>6} ", DIM)
        text.append(line, ACCENT)
        text.append("\n")
    p50, p99 = percentile(values, 0.5), percentile(values, 0.99)
    figures = f"p50 {span(p50)} · p99 {span(p99)} · max {span(max(values))} · n {len(values):,}"
    text.append(cut(f"{figures} · asked {span(expected)}", width), DIM)
    return text


def workloads(moment: Moment, width: int, height: int = 0) -> Text:
    """For each: rates now, and the counts so far; what is not accepted stands out."""
    if not moment.state.workloads:
        return Text("no workloads", DIM)
    shown = [column for column in _COLUMNS if width >= column.least]
    taken = _NAME + sum(column.width for column in shown)
    text = Text(no_wrap=True)
    text.append(" " * _NAME + "".join(f"{column.title:>{column.width}}" for column in shown), DIM)
    for name, state in moment.state.workloads.items():
        text.append(f"\n{cut(name, _NAME - 1):<{_NAME}}")
        tracks = moment.series.figures.get(name)
        if tracks is None:
            own = " · ".join(f"{key.replace('_', ' ')} {number(_plain(value))}" for key, value in state.figures.items())
            text.append(cut(own or "nothing to count yet", width - _NAME), DIM)
            continue
        for column in shown:
            text.append(*_cell(column, tracks, state, moment))
        text.append(
            "  "
            + _line(tracks.get("included") or tracks.get("accepted") or tracks["offered"], moment.t, width - taken - 2),
            GOOD,
        )
    return text


def _cell(column: Column, tracks: Mapping[str, Track], state: WorkloadState, moment: Moment) -> tuple[str, str]:
    """Its text and style."""
    figure, width = column.figure, column.width
    if figure in LATENCY:
        seconds = state.latency.get(figure) if state.latency.get("n") else None
        return f"{span(seconds):>{width}}", ""
    if figure == "target":
        return f"{number(state.target):>{width}}", DIM
    track = tracks.get(figure)
    if track is None:
        return f"{number(None):>{width}}", DIM
    value = track.rate(moment.t - RATE_OVER, moment.t) if column.is_rate else track.at(moment.t)
    style = BAD if figure == "troubles" and value else DIM if figure == "troubles" else ""
    return f"{number(value):>{width}}", style


def _plain(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _line(track: Track, t: float, columns: int) -> str:
    """How fast a count grew, in a line."""
    columns = min(40, max(0, columns))
    if columns < 4:
        return ""
    step = WINDOW / columns
    rates = [track.rate(t - WINDOW + i * step - 2.0, t - WINDOW + (i + 1) * step) for i in range(columns)]
    top = max((rate for rate in rates if rate is not None), default=0.0)
    return "".join(_level(rate, top) for rate in rates)


def _level(rate: float | None, top: float) -> str:
    if rate is None or top <= 0:
        return " "
    return LEVELS[min(7, int(rate / top * 7.999))] if rate > 0 else "▁"
