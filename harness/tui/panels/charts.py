"""Block intervals and loads, over the last while."""

from __future__ import annotations

from rich.text import Text

from harness.tui.bars import LEVELS, chart
from harness.tui.history import Track, percentile, spread
from harness.tui.look import ACCENT, BAD, DIM, GOOD, cut, number, span
from harness.tui.moment import Moment

RATE_OVER = 10.0
"""Seconds over which a rate is taken."""
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
    figures = f"p50 {span(p50)} · p99 {span(p99)} · max {span(max(values))} · n {len(values):,} in {span(end - start)}"
    text.append(cut(f"{figures} · mean asked {span(expected)}", width), DIM)
    return text


def workloads(moment: Moment, width: int) -> Text:
    """For each: rates now, and the counts so far; what is not accepted stands out."""
    text = Text(no_wrap=True)
    series, t = moment.series.figures, moment.t
    wide = width >= 64
    text.append(f"{'':<18}{'offered/s':>10}{'in block/s':>11}{'accepted':>10}{'included':>10}", DIM)
    text.append(f"{'failed':>8}  " if wide else f"{'failed':>8}", DIM)
    for name, state in moment.state.workloads.items():
        tracks = series.get(name)
        text.append(f"\n{cut(name, 17):<18}")
        if tracks is None:
            own = " · ".join(f"{key.replace('_', ' ')} {number(_plain(value))}" for key, value in state.figures.items())
            text.append(cut(own or "nothing to count yet", width - 18), DIM)
            continue
        offered = tracks["offered"].rate(t - RATE_OVER, t)
        included = tracks["included"].rate(t - RATE_OVER, t)
        text.append(f"{number(offered):>10}{number(included):>11}")
        text.append(f"{number(tracks['accepted'].at(t)):>10}{number(tracks['included'].at(t)):>10}")
        troubles = tracks["troubles"].at(t)
        text.append(f"{number(troubles):>8}", BAD if troubles else DIM)
        if wide:
            text.append("  " + _line(tracks["included"], t, width - 59), GOOD)
    if not moment.state.workloads:
        return Text("no workloads", DIM)
    return text


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


