"""What each workload is asked for, offers, and gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.text import Text

from harness.record.state import WorkloadState
from harness.tui.bars import LEVELS
from harness.tui.history import Track
from harness.tui.look import BAD, DIM, GOOD, cut, number, span
from harness.tui.moment import Moment
from harness.tui.panels.charts import WINDOW

RATE_OVER = 10.0
"""Seconds over which a rate is taken while there is load."""
_NAMES = 13, 20, 30
"""Columns that names have at least, before further figures have any, and at most."""
_LINE = 8, 40
"""The same of the line that tells how fast a count grew."""
LATENCY = ("p50", "p99")


@dataclass(frozen=True, slots=True)
class Column:
    """A figure of workloads; what has a lower `rank` has room first."""

    title: str
    figure: str
    width: int
    rank: int
    is_rate: bool = False


_COLUMNS = (
    Column("asked/s", "target", 8, 4),
    Column("offered/s", "offered", 10, 0, is_rate=True),
    Column("in block/s", "included", 11, 1, is_rate=True),
    Column("failed", "troubles", 7, 2),
    Column("p50", "p50", 7, 5),
    Column("p99", "p99", 7, 3),
    Column("accepted", "accepted", 10, 6),
    Column("included", "included", 10, 7),
)


def workloads(moment: Moment, width: int, height: int) -> Text:
    """For each: rates now, or their means once the load is over, and the counts so far; what is not accepted stands
    out. Those for which there is no room are counted."""
    if not moment.state.workloads:
        return Text("no workloads", DIM)
    every = [(name, state) for name, state in moment.state.workloads.items() if not _is_told_by_parts(name, moment)]
    shown = every if len(every) < height else every[: max(1, height - 2)]
    columns, names = _fitting([name for name, _ in every if name in moment.series.figures], width)
    drive = moment.drive
    is_over = drive is not None and drive.ok is not None
    text = Text(no_wrap=True)
    heading = f"{'mean of drive' if is_over else '':<{names}}"
    text.append(heading + "".join(f"{column.title:>{column.width}}" for column in columns), DIM)
    for name, state in shown:
        tracks = moment.series.figures.get(name)
        if tracks is None:
            own = " · ".join(f"{key.replace('_', ' ')} {number(_plain(value))}" for key, value in state.figures.items())
            label = f"{cut(name, _NAMES[-1] - 1):<{names - 1}} "
            text.append(f"\n{label}").append(cut(own or "nothing to count yet", width - len(label)), DIM)
            continue
        text.append(f"\n{cut(name, names - 1):<{names}}")
        for column in columns:
            text.append(*_cell(column, tracks, state, moment, is_over))
        grown = tracks.get("included") or tracks.get("accepted") or tracks["offered"]
        text.append("  " + _line(grown, moment.t, width - _taken(names, columns) - 2), GOOD)
    if len(shown) < len(every) and height > 2:
        text.append("\n" + cut(f"… and {len(every) - len(shown)} more", width), DIM)
    return text


def _is_told_by_parts(name: str, moment: Moment) -> bool:
    """Whether a workload counts nothing itself, as its parts do: `da` by `da.channel`, an invalid one by what it sends
    (`invalid:…`) and what that was made from (`originals:…`)."""
    states = moment.state.workloads
    parts = (other for other in states if other.startswith(f"{name}.") or other.endswith(f":{name}"))
    return not states[name].figures and any(parts)


def _taken(names: int, columns: Sequence[Column]) -> int:
    return names + sum(column.width for column in columns)


def _fitting(names: Sequence[str], width: int) -> tuple[list[Column], int]:
    """The columns for which there is room, and that of the names."""
    least, enough, most = _NAMES
    longest = max(map(len, names), default=0) + 1
    fitting: list[Column] = []
    for column in sorted(_COLUMNS, key=lambda one: one.rank):
        if _taken(max(least, min(enough, longest)), [*fitting, column]) > width:
            break
        fitting.append(column)
    fitting.sort(key=_COLUMNS.index)
    room = width - _taken(0, fitting)
    return fitting, max(1, min(room, max(least, min(most, longest))))


def _cell(
    column: Column, tracks: Mapping[str, Track], state: WorkloadState, moment: Moment, is_over: bool
) -> tuple[str, str]:
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
    if not column.is_rate:
        value = track.at(moment.t)
    elif is_over:
        value = track.growth(moment.t)
    else:
        value = track.rate(moment.t - RATE_OVER, moment.t)
    style = BAD if figure == "troubles" and value else DIM if figure == "troubles" else ""
    return f"{number(value):>{width}}", style


def _plain(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _line(track: Track, t: float, columns: int) -> str:
    """How fast a count grew, in a line."""
    columns = min(_LINE[1], columns)
    if columns < _LINE[0]:
        return ""
    step = WINDOW / columns
    rates = [track.rate(t - WINDOW + i * step - 2.0, t - WINDOW + (i + 1) * step) for i in range(columns)]
    top = max((rate for rate in rates if rate is not None), default=0.0)
    return "".join(_level(rate, top) for rate in rates)


def _level(rate: float | None, top: float) -> str:
    if rate is None or top <= 0:
        return " "
    return LEVELS[min(7, int(rate / top * 7.999))] if rate > 0 else "▁"
