"""SVG by hand: elements whose texts and attributes are escaped, scales and their ticks. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup, escape

from harness.record.tables import NONE
from harness.record.text import one_line

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_TELLABLE = 1e-9
_TIME_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)


def element(name: str, *children: object, **attributes: object) -> Markup:
    """An element. `class_` is the attribute `class`, `stroke_width` is `stroke-width`; those that are None are left
    out. Children that are no Markup are text, made harmless."""
    words = [name]
    for key, value in attributes.items():
        if value is not None:
            words.append(f'{key.rstrip("_").replace("_", "-")}="{escape(_text(value))}"')
    opened = " ".join(words)
    inner = "".join(child if isinstance(child, Markup) else escape(_text(child)) for child in children)
    return Markup(f"<{opened}>{inner}</{name}>") if inner else Markup(f"<{opened}/>")


def _text(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else one_line(value)


class Scale:
    """From values to places, linear; a value beyond its ends is put at the end."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high = low, high if high > low else low + 1.0
        self.start, self.end = start, end

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + (self.end - self.start) * min(1.0, max(0.0, share))


def ticks(low: float, high: float, count: int = 5, least: float = 0.0) -> list[float]:
    """Round values from `low` to `high`, about `count` of them, and at least so far apart."""
    if not high - low > _TELLABLE * max(1.0, abs(low), abs(high)):
        return [low]
    rough = max((high - low) / count, least)
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next((s * magnitude for s in _STEPS if s * magnitude >= rough * 0.999), 10 * magnitude)
    return _multiples(low, high, step)


def time_ticks(low: float, high: float, count: int = 9) -> list[float]:
    """The same for seconds: whole minutes and hours."""
    if not high > low:
        return [low]
    rough = (high - low) / count
    step = next((s for s in _TIME_STEPS if s >= rough), math.ceil(rough / 86400) * 86400.0)
    return _multiples(low, high, step)


def _multiples(low: float, high: float, step: float) -> list[float]:
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, min(last, first + 50) + 1)]


def clock(t: float) -> str:
    """Seconds since the run began: `42s`, `3:05`, `1:02:05`."""
    if not math.isfinite(t):
        return NONE
    sign, t = ("-" if t < 0 else ""), abs(t)
    if t < 60:
        return f"{sign}{t:g}s" if t < 10 else f"{sign}{t:.0f}s"
    minutes, seconds = divmod(round(t), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{sign}{hours}:{minutes:02}:{seconds:02}" if hours else f"{sign}{minutes}:{seconds:02}"


def path(points: Sequence[tuple[float, float]], x: Callable[[float], float], y: Callable[[float], float]) -> str:
    """The data of a line through these points."""
    places = [f"{x(a):.1f},{y(b):.1f}" for a, b in points]
    return "M" + "L".join(places) if places else ""
