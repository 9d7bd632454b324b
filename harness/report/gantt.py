"""What happened when, as one picture: phases, each fault in its lane, steps, exits and violations. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from markupsafe import Markup

from harness.record.state import FaultState, RunState
from harness.record.text import one_line
from harness.report.charts import end_of, fault_label, span
from harness.report.observed import Moment, Observed
from harness.report.svg import Scale, clock, element, time_ticks

WIDTH = 1240.0
_LEFT, _RIGHT, _ROW, _TOP = 230.0, 16.0, 22.0, 6.0
_MAX_LANES = 24
_NARROWEST = 3.0
_LABEL = 34
_CHARACTER = 6.4


@dataclass(frozen=True, slots=True)
class _Bar:
    start: float
    end: float
    text: str
    told: str
    look: str


@dataclass(frozen=True, slots=True)
class _Lane:
    name: str
    bars: tuple[_Bar, ...] = ()
    moments: tuple[Moment, ...] = ()


def draw_timeline(observed: Observed) -> tuple[Markup, int]:
    """The picture, and how many lanes of faults had no room."""
    state = observed.state
    faults = list(_fault_lanes(state))
    lanes = [
        *_phase_lanes(state),
        *faults[:_MAX_LANES],
        *_step_lane(state),
        *_pause_lane(observed),
        *_moment_lanes(observed),
    ]
    height = _TOP + _ROW * len(lanes) + 22
    x = Scale(0.0, end_of(state), _LEFT, WIDTH - _RIGHT)
    parts = list(_axis(x, height))
    for index, lane in enumerate(lanes):
        parts += _drawn(lane, _TOP + index * _ROW, x)
    named = ", ".join(lane.name for lane in lanes)
    box = f"0 0 {WIDTH:.0f} {height:.0f}"
    drawn = element("svg", *parts, viewBox=box, role="img", aria_label=f"Time line: {named}", class_="chart gantt")
    return drawn, max(0, len(faults) - _MAX_LANES)


def _phase_lanes(state: RunState) -> Iterator[_Lane]:
    """Phases that are within others have a lane of their own."""
    outer: list[_Bar] = []
    inner: list[_Bar] = []
    for phase in state.phases:
        end = state.t if phase.seconds is None else phase.started_at + phase.seconds
        took = span(max(0.0, end - phase.started_at))
        went = "goes on" if phase.ok is None else "done" if phase.ok else f"failed: {phase.error}"
        told = f"{phase.phase} {took}, {went}"
        look = "phase failed" if phase.ok is False else f"phase {'drive' if phase.phase == 'drive' else 'other'}"
        bar = _Bar(phase.started_at, end, phase.phase, told, look)
        (inner if phase.phase == "prepare" else outer).append(bar)
    if outer:
        yield _Lane("phases", tuple(outer))
    if inner:
        yield _Lane("prepare", tuple(inner))


def _fault_lanes(state: RunState) -> Iterator[_Lane]:
    """A lane for each kind of fault on each set of nodes."""
    lanes: dict[str, list[_Bar]] = {}
    for fault in state.faults.values():
        start = fault.reached.get("injected", fault.reached.get("intended"))
        if start is not None:
            name = f"{fault.fault}: {_targets(fault)}" if fault.targets else fault.fault
            lanes.setdefault(name, []).append(
                _Bar(start, _end(fault, state), fault.id, fault_label(fault), _look(fault))
            )
    for name, bars in lanes.items():
        yield _Lane(name, tuple(bars))


def _targets(fault: FaultState) -> str:
    first = ", ".join(fault.targets[:2])
    return first if len(fault.targets) <= 2 else f"{first} +{len(fault.targets) - 2}"


def _end(fault: FaultState, state: RunState) -> float:
    ends: Mapping[str, float] = fault.reached
    return next((ends[s] for s in ("healed", "healing-unproven", "not-applied") if s in ends), state.t)


def _look(fault: FaultState) -> str:
    return f"fault {'failed' if fault.broken else 'doubtful' if fault.doubtful else 'proven'}"


def _step_lane(state: RunState) -> Iterator[_Lane]:
    bars = []
    for step in state.steps.values():
        start = step.reached.get("begun", min(step.reached.values(), default=None) if step.reached else None)
        if start is not None:
            end = max(step.reached.values())
            look = "step failed" if step.stage == "failed" else "step other"
            bars.append(_Bar(start, end, step.what, f"{step.step} {step.what}: {step.stage}", look))
    if bars:
        yield _Lane("steps", tuple(bars))


def _pause_lane(observed: Observed) -> Iterator[_Lane]:
    bars = [_Bar(start, end, "paused", "workloads paused", "phase other") for start, end in observed.pauses]
    if bars:
        yield _Lane("workloads", tuple(bars))


def _moment_lanes(observed: Observed) -> Iterator[_Lane]:
    for kind, name in (("exit", "unasked exits"), ("violation", "violations"), ("steered", "by hand")):
        moments = tuple(moment for moment in observed.moments if moment.kind == kind)
        if moments:
            yield _Lane(name, moments=moments)


def _axis(x: Scale, height: float) -> Iterator[Markup]:
    for t in time_ticks(x.low, x.high, 14):
        yield element("line", x1=x(t), x2=x(t), y1=_TOP, y2=height - 18, class_="grid")
        yield element("text", clock(t), x=x(t), y=height - 5, class_="tick middle")


def _drawn(lane: _Lane, top: float, x: Scale) -> Iterator[Markup]:
    middle = top + _ROW / 2
    name = lane.name if len(lane.name) <= _LABEL else lane.name[: _LABEL - 1] + "…"
    yield element("text", element("title", lane.name), name, x=_LEFT - 10, y=middle + 4, class_="lane end")
    for bar in lane.bars:
        start = x(bar.start)
        width = max(_NARROWEST, x(bar.end) - start)
        told = element("title", f"{clock(bar.start)} {bar.told}")
        yield element("rect", told, x=start, y=top + 3, width=width, height=_ROW - 6, rx=2, class_=f"bar {bar.look}")
        text = one_line(bar.text, 40)
        if width > len(text) * _CHARACTER + 8:
            yield element("text", text, x=start + 5, y=middle + 4, class_="bartext")
    for moment in lane.moments:
        at = x(moment.t)
        told = element("title", f"{clock(moment.t)} {moment.text}")
        d = f"M{at:.1f},{middle - 6:.1f}l6,6l-6,6l-6,-6Z"
        yield element("path", told, d=d, class_=f"moment {moment.kind}")
