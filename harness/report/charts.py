"""Which charts a run has, from what was observed. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from harness.record.state import FaultState, RunState
from harness.record.tables import NONE
from harness.record.text import counted, one_line
from harness.report.chart import STYLES, Band, Chart, Line, Mark
from harness.report.observed import Observed
from harness.report.samples import SampleReading
from harness.report.series import Points, grid, percentile, rates, thinned
from harness.spec.durations import format_duration

POINTS = 24_000
"""Points of all the nodes' lines in one chart, together."""
_LEAST_POINTS = 40
RATE_STRETCHES = 90
MAX_BANDS = 150
MAX_MARKS = 40
MAX_WORKLOADS = 8
"""Faults, and exits and violations, that are in each chart, and workloads that have some. The page says of how many."""
_MAX_DOTS = 1500
_LONGEST = 1e7
_FOREVER = 1e12
FAINT = "faint"


def seconds(value: float) -> str:
    """A duration on an axis."""
    return format_duration(value) if value > 0 else "0"


def per_second(value: float) -> str:
    return f"{value:,.0f}/s" if value >= 100 else f"{value:.3g}/s"


def whole(value: float) -> str:
    return f"{value:,.0f}"


def cores(value: float) -> str:
    return f"{value:.3g}"


def size(value: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def fault_bands(state: RunState) -> tuple[Band, ...]:
    """The stretches in which faults were there, or may have been."""
    bands: list[Band] = []
    for fault in state.faults.values():
        start = fault.reached.get("injected")
        if start is not None and len(bands) < MAX_BANDS:
            bands.append(Band(start, _end(fault, state), fault_label(fault)))
    return tuple(bands)


def fault_label(fault: FaultState) -> str:
    targets = f" of {', '.join(fault.targets)}" if fault.targets else ""
    held = f" for {span(fault.held)}" if fault.held is not None else ""
    return one_line(f"{fault.id} {fault.fault}{targets}{held} ({fault.stage})", 160)


def _end(fault: FaultState, state: RunState) -> float:
    ends = (fault.reached.get(stage) for stage in ("healed", "healing-unproven", "not-applied"))
    return next((end for end in ends if end is not None), state.t)


def span(value: float | None) -> str:
    """A duration in a sentence or a table."""
    if value is None or not math.isfinite(value):
        return NONE
    return format_duration(value) if value > 0 else "0s"


def end_of(state: RunState) -> float:
    """Where the axis of time ends."""
    return state.t if 1.0 < state.t < _FOREVER else 1.0


def drive_of(state: RunState) -> tuple[float, float] | None:
    """When the workloads ran."""
    for phase in state.phases:
        if phase.phase == "drive":
            end = state.t if phase.seconds is None else phase.started_at + phase.seconds
            return _within(phase.started_at, state), _within(end, state)
    return None


def driven(state: RunState) -> tuple[float, float]:
    """The same, or all of a run that did not come so far."""
    return drive_of(state) or (0.0, end_of(state))


def _within(t: float, state: RunState) -> float:
    return min(end_of(state), max(0.0, t))


def charts_of(observed: Observed, samples: SampleReading) -> tuple[Chart, ...]:
    """All charts of a run, on one axis of time."""
    return (
        _intervals(observed),
        _heights(observed),
        _behind(observed),
        *_throughput(observed),
        *_latencies(observed, samples),
        *_measures(observed),
    )


def _chart(observed: Observed, title: str, lines: Sequence[Line], **more: object) -> Chart:
    state = observed.state
    marks = tuple(Mark(moment.t, moment.text, moment.kind) for moment in observed.moments[:MAX_MARKS])
    bands = fault_bands(state)
    if (drive := drive_of(state)) is not None:
        bands = (Band(*drive, "drive", "drive"), *bands)
    bands = (*bands, *(Band(start, end, "workloads paused", "pause") for start, end in observed.pauses))
    end = end_of(state)
    return Chart(title, tuple(lines), 0.0, end, bands=bands, marks=marks, **more)  # type: ignore[arg-type]


def _intervals(observed: Observed) -> Chart:
    points = observed.intervals
    run = observed.state.run
    note = "Seconds between the headers of consecutive heights, where the higher one was seen first."
    if points:
        ordered = sorted(value for _, value in points)
        p50, p99 = seconds(percentile(ordered, 50)), seconds(percentile(ordered, 99))
        longest = seconds(ordered[-1])
        note = f"p50 {p50}, p99 {p99}, longest {longest} of {counted(len(points), 'interval')}. {note}"
    promised = (
        (run.block_interval, f"promised {seconds(run.block_interval)}")
        if run and 0 < run.block_interval < _LONGEST
        else None
    )
    line = Line("interval", points if len(points) <= _MAX_DOTS else thinned(points, _MAX_DOTS // 3), 0, dots=True)
    return _chart(observed, "Block intervals", [line], value=seconds, level=promised, note=note)


def _heights(observed: Observed) -> Chart:
    ends = {node: points[-1][1] for node, points in observed.heights.items() if points}
    lowest_first = sorted(ends, key=lambda node: (ends[node], node))
    lines = _node_lines(observed, observed.heights, lowest_first)
    note = "The height last seen at each node."
    if len(ends) > STYLES:
        note = f"{note} In colour, of {counted(len(ends), 'node')}: the {STYLES} that were lowest at the end."
    return _chart(
        observed,
        "Heights",
        lines,
        value=whole,
        is_whole=True,
        from_zero=False,
        has_steps=not observed.thinned,
        note=note,
        listed=_listed(lines),
    )


def _behind(observed: Observed) -> Chart:
    farthest = {node: max((value for _, value in points), default=0.0) for node, points in observed.behind.items()}
    lines = _node_lines(observed, observed.behind, sorted(farthest, key=lambda node: (-farthest[node], node)))
    note = "The greatest height seen anywhere by then, less the node's own; between its blocks the line is straight."
    if len(lines) > STYLES:
        note = f"{note} In colour: the {STYLES} that were farthest behind."
    return _chart(
        observed, "Blocks behind the highest", lines, value=whole, is_whole=True, note=note, listed=_listed(lines)
    )


def _node_lines(observed: Observed, series: Mapping[str, Points], noteworthy: Sequence[str]) -> list[Line]:
    """A line for each node, which looks the same in every chart; where there are more than can be told apart, all but
    the most noteworthy are faint, and drawn first."""
    budget = max(_LEAST_POINTS, POINTS // max(1, len(series)) // 3)
    places = {node: number for number, node in enumerate(observed.state.nodes)}
    looks: Mapping[str, int] = places
    if len(series) > STYLES:
        looks = {node: rank for rank, node in enumerate(noteworthy[:STYLES])}
    nodes = sorted(series, key=lambda node: (node in looks, places.get(node, 0)))
    return [Line(node, thinned(series[node], budget), looks.get(node, FAINT)) for node in nodes]


def _listed(lines: Sequence[Line]) -> tuple[Line, ...] | None:
    return tuple(line for line in lines if line.look != FAINT) if len(lines) > STYLES else None


def _throughput(observed: Observed) -> Iterator[Chart]:
    state = observed.state
    start, end = driven(state)
    least = max(2.0, 2 * state.run.block_interval if state.run else 0.0)
    times = grid(start, max(end, start + 1.0), RATE_STRETCHES, least)
    for workload, counts in list(observed.counts.items())[:MAX_WORKLOADS]:
        names = ["offered", "accepted", "included"]
        if any(count for _, count in counts.get("refused", ())):
            names.append("refused")
        lines = [
            Line(name, rates(counts[name], times), name, filled=name == "included") for name in names if name in counts
        ]
        width = format_duration(times[1] - times[0]) if len(times) > 1 else "a while"
        note = f"Means over {width} each. Included: seen in a block, at the time when it was seen."
        if "refused" in names:
            note += " Refused: rejected, dropped, failed or timed out."
        asked = state.workloads[workload].target if workload in state.workloads else None
        level = (asked, f"to be sent {per_second(asked)}") if asked is not None and 0 < asked < _LONGEST else None
        yield _chart(observed, f"Throughput of {workload}", lines, value=per_second, level=level, note=note)


def _measures(observed: Observed) -> Iterator[Chart]:
    """What nodes used, where it was measured."""
    for what, title, value, note in (
        ("cpu", "CPU of nodes", cores, "Cores that a node's processes used, since the time before."),
        ("memory", "Memory of nodes", size, "What a node's processes held."),
    ):
        if series := {node: points for node, points in observed.measures.get(what, {}).items() if points}:
            most = {node: max(value for _, value in points) for node, points in series.items()}
            lines = _node_lines(observed, series, sorted(most, key=lambda node: (-most[node], node)))
            if len(lines) > STYLES:
                note = f"{note} In colour: the {STYLES} that had most of it."
            yield _chart(observed, title, lines, value=value, note=note, listed=_listed(lines))


def _latencies(observed: Observed, samples: SampleReading) -> Iterator[Chart]:
    for tracker, latencies in list(samples.latencies.items())[:MAX_WORKLOADS]:
        over = latencies.over_time
        lines = [
            Line("p50", [(one.t, one.p50) for one in over], "included"),
            Line("p90", [(one.t, one.p90) for one in over], "accepted"),
            Line("p99", [(one.t, one.p99) for one in over], "refused"),
        ]
        counts = latencies.whole.count if latencies.whole else 0
        warming = f"; with {latencies.warming:,} of the warm-up, which count nowhere else" if latencies.warming else ""
        note = (
            f"From the intended moment of sending to the inclusion, by that moment; {counts + latencies.warming:,} "
            f"samples{warming}, {format_duration(latencies.width)} to a point, by nearest rank."
        )
        yield _chart(observed, f"Latency of {tracker}", lines, value=seconds, note=note)
    for tracker, answers in list(samples.answers.items())[:MAX_WORKLOADS]:
        lines = [
            Line("p50", [(one.t, one.p50) for one in answers], "included"),
            Line("p99", [(one.t, one.p99) for one in answers], "accepted"),
            Line("longest", [(one.t, one.max) for one in answers], "refused"),
        ]
        count = sum(one.count for one in answers)
        note = (
            f"From the intended moment of sending to the answer, by that of the answer; {count:,} answers. The mean of "
            f"each second's and sender's median, the worst of their 99th percentiles."
        )
        yield _chart(observed, f"Latency of {tracker}", lines, value=seconds, note=note)
