"""The runs of one matrix on one page: what came of each, and what was reached against what was asked. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.record.state import RunState
from harness.record.summary import matrix_table, summarize
from harness.record.tables import NONE, Mood, Row, Table
from harness.record.text import counted, figure
from harness.report.chart import Chart, Line
from harness.report.charts import driven, per_second, seconds
from harness.report.observed import Observed
from harness.report.samples import SampleReading
from harness.report.series import Points, percentile, rates

_MAX_TRACKERS = 6
_SHORTEST = 0.1


@dataclass(frozen=True, slots=True)
class MatrixRun:
    """One of the runs. `link` leads to its own report from where the summary lies, "" where there is none."""

    observed: Observed
    samples: SampleReading
    run_id: str
    alive: bool = False
    link: str = ""


@dataclass(frozen=True, slots=True)
class Flow:
    """What a tracker came to during the drive, per second, and its latencies in seconds (None: nothing was included).
    `achieved`: in a block by the end of the drive; of what goes into no block, answered well."""

    offered: float
    accepted: float
    achieved: float
    p50: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class MatrixSummary:
    """`planned` is how many runs there were to be."""

    name: str
    id: str
    planned: int
    verdict: str
    mood: Mood
    runs: tuple[MatrixRun, ...]
    table: Table
    figures: Table
    charts: tuple[Chart, ...]

    @property
    def links(self) -> Mapping[str, str]:
        """Where the report of a run is, by the id that it gave itself; "" where there is none."""
        return {run.observed.state.run.run_id: run.link for run in self.runs if run.observed.state.run}


def matrix_id(state: RunState) -> str:
    """Which matrix this run is of, "" for a run of its own."""
    found = state.run.matrix.get("id") if state.run else None
    return found if isinstance(found, str) else ""


def summarize_matrix(runs: Sequence[MatrixRun]) -> MatrixSummary:
    """In the order of their numbers. Raises ValueError of none."""
    if not runs:
        raise ValueError("there are no runs")
    runs = sorted(runs, key=lambda run: (_number(run.observed.state), run.run_id))
    states = [run.observed.state for run in runs]
    first = next((state.run for state in states if state.run), None)
    of = first.matrix.get("of") if first else None
    planned = of if isinstance(of, int) else len(runs)
    verdict, mood = _verdict(runs, planned)
    return MatrixSummary(
        first.name if first else "runs",
        matrix_id(states[0]),
        planned,
        verdict,
        mood,
        tuple(runs),
        matrix_table(states),
        _figure_table(runs),
        tuple(_charts(runs)),
    )


def _number(state: RunState) -> int:
    number = state.run.matrix.get("number") if state.run else None
    return number if isinstance(number, int) else 0


def _verdict(runs: Sequence[MatrixRun], planned: int) -> tuple[str, Mood]:
    moods = [summarize(run.observed.state, alive=run.alive).mood for run in runs]
    passed = moods.count(Mood.GOOD)
    whole = f"{passed} of {planned} passed"
    if Mood.BAD in moods:
        return whole, Mood.BAD
    return whole, Mood.GOOD if passed == planned else Mood.DOUBTFUL


def flows_of(run: MatrixRun) -> Mapping[str, Flow]:
    """By tracker."""
    state = run.observed.state
    start, end = driven(state)
    if end - start < _SHORTEST:
        return {}
    flows = {}
    for name, counts in list(run.observed.counts.items())[:_MAX_TRACKERS]:
        told_last = state.workloads.get(name)
        totals = told_last.figures if told_last is not None and told_last.final else {}
        grown = {what: _grown(counts.get(what, ()), start, end) / (end - start) for what in _WHAT}
        # Nothing is offered beyond the drive, and records are a second apart: a total misses no last part of one.
        grown |= {what: float(totals[what]) / (end - start) for what in _TOTALS if what in totals}
        whole = latency.whole if (latency := run.samples.latencies.get(name)) else None
        p50, p99 = (whole.p50, whole.p99) if whole else (None, None)
        achieved = grown["included"]
        if "included" not in counts and name in state.workloads:  # it goes into no block: answered well is achieved
            achieved, told = grown["accepted"], state.workloads[name].latency
            p50, p99 = (told.get("p50"), told.get("p99")) if told.get("n") else (None, None)
        flows[name] = Flow(grown["offered"], grown["accepted"], achieved, p50, p99)
    return flows


_WHAT = ("offered", "accepted", "included")
_TOTALS = ("offered", "accepted")


def _grown(counts: Points, start: float, end: float) -> float:
    """Between records it is taken to have grown evenly, from nothing before the first."""
    known = [(start, 0.0), *counts] if counts and counts[0][0] > start else counts
    return sum(rate for _, rate in rates(known, (start, end))) * (end - start)


def _varied(runs: Sequence[MatrixRun]) -> list[str]:
    """The variables in which the runs differ."""
    variables: list[Mapping[str, Any]] = [
        run.observed.state.run.variables if run.observed.state.run else {} for run in runs
    ]
    names = dict.fromkeys(name for one in variables for name in one)
    return [name for name in names if any(one.get(name) != variables[0].get(name) for one in variables)]


def _label(run: MatrixRun, varied: Sequence[str]) -> str:
    variables = run.observed.state.run.variables if run.observed.state.run else {}
    return ", ".join(f"{name} {figure(variables.get(name))}" for name in varied) or run.run_id


def _figure_table(runs: Sequence[MatrixRun]) -> Table:
    rows = []
    varied = _varied(runs)
    for run in runs:
        intervals = sorted(value for _, value in run.observed.intervals)
        pace = [seconds(percentile(intervals, p)) if intervals else NONE for p in (50, 99)]
        flows: Mapping[str, Flow | None] = flows_of(run) or {NONE: None}
        for tracker, flow in flows.items():
            figures = (
                (
                    per_second(flow.offered),
                    per_second(flow.accepted),
                    per_second(flow.achieved),
                    _time(flow.p50),
                    _time(flow.p99),
                )
                if flow
                else (NONE,) * 5
            )
            mood = summarize(run.observed.state, alive=run.alive).mood
            rows.append(Row((_label(run, varied), tracker, *figures, *pace), mood if mood is Mood.BAD else Mood.PLAIN))
    columns = (
        "run",
        "workload",
        "offered",
        "accepted",
        "achieved",
        "p50",
        "p99",
        "block interval p50",
        "block interval p99",
    )
    notes = ("Means over the drive. Achieved: in a block by the end of the drive. Latencies: of the whole run.",)
    return Table("figures", columns, tuple(rows), frozenset(columns[2:]), notes=notes)


def _time(value: float | None) -> str:
    return NONE if value is None else seconds(value)


def _charts(runs: Sequence[MatrixRun]) -> Iterator[Chart]:
    flows = [flows_of(run) for run in runs]
    varied = _varied(runs)
    labels = [_label(run, varied) for run in runs]
    for tracker in list(dict.fromkeys(name for one in flows for name in one))[:_MAX_TRACKERS]:
        found = [(number, one[tracker]) for number, one in enumerate(flows) if tracker in one]
        axis = _Axis([flow.offered for _, flow in found], [labels[number] for number, _ in found])
        reached = (
            Line("offered", axis.points([flow.offered for _, flow in found]), "offered"),
            Line("accepted", axis.points([flow.accepted for _, flow in found]), "accepted", marked=True),
            Line("achieved", axis.points([flow.achieved for _, flow in found]), "included", marked=True),
        )
        note = f"Per second, means over the drive, {axis.told}. Achieved: in a block by the end of the drive."
        yield axis.chart(f"{tracker}: achieved against offered", reached, per_second, note)
        times = (
            Line("p50", axis.points([flow.p50 for _, flow in found]), "included", marked=True),
            Line("p99", axis.points([flow.p99 for _, flow in found]), "refused", marked=True),
        )
        yield axis.chart(f"{tracker}: latency against offered", times, seconds, f"To the inclusion, {axis.told}.")
    paces = [sorted(value for _, value in run.observed.intervals) for run in runs]
    totals = [sum(flow.offered for flow in one.values()) for one in flows]
    axis = _Axis(totals, labels)
    lines = (
        Line("p50", axis.points([percentile(pace, 50) if pace else None for pace in paces]), "included", marked=True),
        Line("p99", axis.points([percentile(pace, 99) if pace else None for pace in paces]), "refused", marked=True),
    )
    yield axis.chart("Block intervals across the matrix", lines, seconds, f"{counted(len(runs), 'run')}, {axis.told}.")


class _Axis:
    """Across the runs: by the offered rate where that differs in all of them, else one run beside the other."""

    def __init__(self, offered: Sequence[float], labels: Sequence[str]) -> None:
        self._labels = labels
        spread = (max(offered) - min(offered)) / max(max(offered), 1e-9) if offered else 0.0
        distinct = len({round(rate / max(max(offered), 1e-9), 2) for rate in offered}) == len(offered)
        self._by_rate = spread > 0.1 and distinct
        self._places = list(offered) if self._by_rate else [float(number) for number in range(len(offered))]

    @property
    def told(self) -> str:
        return "by the rate that was offered" if self._by_rate else "one run beside the other"

    def points(self, values: Sequence[float | None]) -> Points:
        return sorted((x, y) for x, y in zip(self._places, values, strict=True) if y is not None)

    def chart(self, title: str, lines: tuple[Line, ...], value: Callable[[float], str], note: str) -> Chart:
        if self._by_rate:
            return Chart(title, lines, 0.0, max(self._places) * 1.03, value, per_second, is_time=False, note=note)
        ticks = tuple(self._places[:: max(1, len(self._places) // 8)])
        return Chart(
            title,
            lines,
            -0.3,
            max(len(self._places) - 0.7, 0.7),
            value,
            self._named,
            is_time=False,
            note=note,
            ticks=ticks,
        )

    def _named(self, place: float) -> str:
        number = min(max(round(place), 0), len(self._labels) - 1)
        label = self._labels[number]
        return label if len(label) <= 22 else label[:21] + "…"
