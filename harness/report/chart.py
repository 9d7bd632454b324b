"""Charts as SVG: lines and dots over time, or over anything else, with stretches shaded and moments marked. Pure.

Nothing here needs a script: values are told by `<title>`, which browsers show where the mouse rests. A series is told
from others by colour and by how its line is broken, a shaded stretch by hatching."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from markupsafe import Markup, escape

from harness.record.text import block, figure
from harness.report.series import Points, stepped
from harness.report.svg import Scale, clock, element, path, ticks, time_ticks

WIDTH, HEIGHT = 620.0, 230.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 54.0, 14.0, 14.0, 24.0
STYLES = 8
"""Lines that can be told apart."""
_COLUMNS = 80
_TOLD = 12
_NARROWEST = 2.0


@dataclass(frozen=True, slots=True)
class Line:
    """`look` is a number below STYLES, or a word that the style sheet knows (offered, accepted, included, refused,
    faint). `dots` draws the points alone, `filled` what is beneath, `marked` both line and points."""

    label: str
    points: Points
    look: int | str = 0
    dots: bool = False
    filled: bool = False
    marked: bool = False

    @property
    def css(self) -> str:
        return f"s{self.look % STYLES}" if isinstance(self.look, int) else self.look


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of time: `kind` is fault, pause or drive."""

    start: float
    end: float
    label: str
    kind: str = "fault"


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment."""

    t: float
    label: str
    kind: str


@dataclass(frozen=True, slots=True)
class Chart:
    """`value` and `place` make text of what is measured and of where on the axis it was; `level` is a value at which a
    line is drawn across, with its name. `listed` are the lines in the legend, all where it is None. `has_steps`: a
    value holds until the next. `is_whole`: there is nothing between whole numbers. `ticks` are the places named on the
    axis, round ones where there are none. `note` is a sentence beneath."""

    title: str
    lines: tuple[Line, ...]
    start: float
    end: float
    value: Callable[[float], str] = figure
    place: Callable[[float], str] = clock
    is_time: bool = True
    bands: tuple[Band, ...] = ()
    marks: tuple[Mark, ...] = ()
    level: tuple[float, str] | None = None
    note: str = ""
    from_zero: bool = True
    listed: tuple[Line, ...] | None = None
    has_steps: bool = False
    is_whole: bool = False
    ticks: tuple[float, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not any(line.points for line in self.lines)

    @property
    def legend(self) -> tuple[Line, ...]:
        return self.lines if self.listed is None else self.listed


def draw(chart: Chart) -> Markup:
    """The picture of a chart. Its figures are in the titles of its parts."""
    low, high = _range(chart)
    x = Scale(chart.start, chart.end, _LEFT, WIDTH - _RIGHT)
    y = Scale(low, high, HEIGHT - _BOTTOM, _TOP)
    parts = [*_shaded(chart, x), *_axes(chart, x, y)]
    parts += [part for line in chart.lines for part in _drawn(line, chart, x, y)]
    if chart.level is not None:
        at, label = chart.level
        parts.append(element("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=y(at), y2=y(at), class_="level"))
        parts.append(element("text", label, x=WIDTH - _RIGHT - 3, y=y(at) - 4, class_="tick end"))
    parts += _marked(chart, x)
    if chart.is_time:
        parts += _columns(chart, x)
    box = f"0 0 {WIDTH:.0f} {HEIGHT:.0f}"
    return element("svg", *parts, viewBox=box, role="img", aria_label=_described(chart), class_="chart")


def swatch(line: Line) -> Markup:
    """A short piece of the line, for the legend."""
    inner = (
        element("circle", cx=11, cy=5, r=3, class_=f"dot {line.css}")
        if line.dots
        else element("path", d="M1,5L21,5", class_=f"line {line.css}")
    )
    return element("svg", inner, viewBox="0 0 22 10", class_="swatch", aria_hidden="true")


def _range(chart: Chart) -> tuple[float, float]:
    values = [value for line in chart.lines for _, value in line.points]
    if chart.level is not None:
        values.append(chart.level[0])
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    if chart.from_zero:
        low, high = min(0.0, low), max(0.0, high)
    if high <= low:
        high = low + 1.0
    steps = ticks(low, high, least=1.0 if chart.is_whole else 0.0)
    step = steps[1] - steps[0] if len(steps) > 1 else high - low
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step


def _axes(chart: Chart, x: Scale, y: Scale) -> Iterator[Markup]:
    for value in ticks(y.low, y.high, least=1.0 if chart.is_whole else 0.0):
        yield element("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=y(value), y2=y(value), class_="grid")
        yield element("text", chart.value(value), x=_LEFT - 6, y=y(value) + 3.5, class_="tick end")
    for place in chart.ticks or (time_ticks(x.low, x.high) if chart.is_time else ticks(x.low, x.high, 6)):
        yield element("line", x1=x(place), x2=x(place), y1=HEIGHT - _BOTTOM, y2=HEIGHT - _BOTTOM + 4, class_="axis")
        yield element("text", chart.place(place), x=x(place), y=HEIGHT - _BOTTOM + 15, class_="tick middle")
    yield element("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=HEIGHT - _BOTTOM, y2=HEIGHT - _BOTTOM, class_="axis")
    if chart.is_empty:
        middle = (WIDTH + _LEFT) / 2
        yield element("text", "nothing was measured", x=middle, y=HEIGHT / 2, class_="tick middle nothing")


def _shaded(chart: Chart, x: Scale) -> Iterator[Markup]:
    for band in chart.bands:
        if band.end < chart.start or band.start > chart.end:
            continue
        start, end = x(band.start), x(band.end)
        width = max(_NARROWEST, end - start)
        box = {"x": start, "y": _TOP, "width": width, "height": HEIGHT - _TOP - _BOTTOM}
        yield element("rect", **box, class_=f"band {band.kind}")
        if band.kind != "drive":
            yield element("rect", element("title", band.label), x=start, y=_TOP - 9, width=max(4.0, width), height=6,
                          class_=f"bandhead {band.kind}")  # fmt: skip


def _drawn(line: Line, chart: Chart, x: Scale, y: Scale) -> Iterator[Markup]:
    if not line.points:
        return
    if line.dots or line.marked:
        for t, value in line.points:
            told = element("title", f"{line.label} {chart.value(value)} at {chart.place(t)}")
            yield element("circle", told, cx=x(t), cy=y(value), r=2.2 if line.dots else 4.0, class_=f"dot {line.css}")
    if line.dots:
        return
    places = list(_stairs(line.points)) if chart.has_steps else line.points
    if line.filled:
        floor = y(max(0.0, y.low))
        area = f"{path(places, x, y)}L{x(places[-1][0]):.1f},{floor:.1f}L{x(places[0][0]):.1f},{floor:.1f}Z"
        yield element("path", d=area, class_=f"area {line.css}")
    yield element("path", element("title", line.label), d=path(places, x, y), class_=f"line {line.css}")


def _stairs(points: Points) -> Iterator[tuple[float, float]]:
    before: float | None = None
    for t, value in points:
        if before is not None and before != value:
            yield t, before
        yield t, value
        before = value


def _marked(chart: Chart, x: Scale) -> Iterator[Markup]:
    for mark in chart.marks:
        if chart.start <= mark.t <= chart.end:
            at = x(mark.t)
            drawn = f"M{at:.1f},{_TOP:.1f}V{HEIGHT - _BOTTOM:.1f}"
            yield element("path", element("title", f"{chart.place(mark.t)} {mark.label}"), d=drawn,
                          class_=f"mark {mark.kind}")  # fmt: skip


def _columns(chart: Chart, x: Scale) -> Iterator[Markup]:
    """Invisible columns across the picture that tell the values of all lines at their time."""
    lines = [line for line in chart.legend if line.points][:_TOLD]
    if not lines:
        return
    width = (x.end - x.start) / _COLUMNS
    times = [chart.start + (chart.end - chart.start) * (i + 0.5) / _COLUMNS for i in range(_COLUMNS)]
    known = [list(stepped(line.points, times)) for line in lines]
    for index, t in enumerate(times):
        told = [
            f"{line.label} {chart.value(values[index] or 0.0)}"
            for line, values in zip(lines, known, strict=True)
            if values[index] is not None and t <= line.points[-1][0] + (chart.end - chart.start) / _COLUMNS
        ]
        faults = [band.label for band in chart.bands if band.kind != "drive" and band.start <= t <= band.end][:4]
        if told or faults:
            text = "\n".join([chart.place(t), *told, *faults])
            yield element("rect", _title(text), x=x.start + index * width, y=_TOP, width=width,
                          height=HEIGHT - _TOP - _BOTTOM, class_="column")  # fmt: skip


def _title(text: str) -> Markup:
    """A title of several lines, each made harmless."""
    return Markup("<title>{}</title>").format(escape(block(text)))


def _described(chart: Chart) -> str:
    """For those who do not see the picture."""
    if chart.is_empty:
        return f"{chart.title}: nothing was measured"
    told = []
    for line in chart.legend[:_TOLD]:
        if line.points:
            values = [value for _, value in line.points]
            least, most = chart.value(min(values)), chart.value(max(values))
            told.append(f"{line.label} from {least} to {most}, at last {chart.value(values[-1])}")
    faults = sum(band.kind == "fault" for band in chart.bands)
    return f"{chart.title}: {'; '.join(told)}" + (f"; {faults} faults are shaded" if faults else "")
