"""Block intervals over the last while."""

from __future__ import annotations

from rich.text import Text

from harness.tui.bars import chart
from harness.tui.history import percentile, spread
from harness.tui.look import ACCENT, DIM, cut, span
from harness.tui.moment import Moment

WINDOW = 120.0
"""Seconds that a chart looks back, at least."""


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
