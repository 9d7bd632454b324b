"""Two runs side by side: what was asked differently, what came out differently, and what is only noise. Pure."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from harness.record.codec import jsonable
from harness.record.state import RunState
from harness.record.summary import summarize
from harness.record.tables import NONE, Mood, Row, Table, mood_of
from harness.record.text import counted, figure, sentence
from harness.report.chart import Chart, Line
from harness.report.charts import driven, per_second, seconds
from harness.report.observed import Observed
from harness.report.series import Point, Points, grid, percentile, rates
from harness.report.statistics import (
    MAX_STRETCHES,
    RELEVANT,
    SIGNIFICANCE,
    Difference,
    holm,
    level_difference,
    stretches,
    tail_difference,
)

_INTERVALS_PER_STRETCH = 5
_LEAST = 3
_ECDF = 200
_MAX_SETTINGS = 200
_BY_NAME = ("workloads", "expectations")
SAME, DIFFERS, UNKNOWN = "within noise", "differs", "too short to say"


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two. `latencies` by tracker: (seconds since the run began, latency); `playbook` the text of run.toml,
    "" where there is none."""

    observed: Observed
    latencies: Mapping[str, Points]
    playbook: str
    run_id: str
    alive: bool = False


@dataclass(frozen=True, slots=True)
class Metric:
    """A measured quantity in both: its percentiles, and whether its level differs. `lower_is_better` None where
    neither is."""

    name: str
    unit: str
    a: Sequence[float]
    b: Sequence[float]
    difference: Difference | None
    p: float | None = None
    lower_is_better: bool | None = None

    @property
    def judged(self) -> str:
        if self.difference is None or self.p is None:
            return UNKNOWN
        change = self.difference.change
        is_clear = self.p < SIGNIFICANCE and not self.difference.low <= 0 <= self.difference.high
        return DIFFERS if is_clear and (change is None or abs(change) >= RELEVANT) else SAME

    @property
    def mood(self) -> Mood:
        if self.judged != DIFFERS or self.difference is None or self.lower_is_better is None:
            return Mood.DOUBTFUL if self.judged == DIFFERS else Mood.PLAIN
        return Mood.GOOD if (self.difference.b < self.difference.a) == self.lower_is_better else Mood.BAD


@dataclass(frozen=True, slots=True)
class Comparison:
    """`told` are sentences, the most important first; `charts` have both in one."""

    a: Side
    b: Side
    told: tuple[tuple[str, Mood], ...]
    verdicts: Table
    expectations: Table
    metrics: Table
    settings: Table
    charts: tuple[Chart, ...]
    measured: tuple[Metric, ...]


def compare(a: Side, b: Side) -> Comparison:
    """B against A. The same two always give the same."""
    metrics = _corrected(tuple(_metrics(a, b)))
    expectations, settings = _expectations(a.observed.state, b.observed.state), _settings(a, b)
    same = [("A and B are the same run", Mood.DOUBTFUL)] if a.run_id == b.run_id else []
    return Comparison(
        a,
        b,
        (*same, *_told(expectations, metrics, settings)),
        _verdicts(a, b),
        expectations,
        _metric_table(metrics),
        settings,
        tuple(_charts(metrics)),
        metrics,
    )


def _metrics(a: Side, b: Side) -> Iterator[Metric]:
    width = max(_width(a.observed.state), _width(b.observed.state))
    ours, theirs = (_driven(side.observed.intervals, side.observed.state) for side in (a, b))
    yield from _levels("block interval", ours, theirs, width, lower_is_better=None)
    for name in sorted(a.latencies.keys() & b.latencies.keys()):
        yield from _levels(f"latency of {name}", a.latencies[name], b.latencies[name], width, lower_is_better=True)
    for name in sorted(a.observed.counts.keys() & b.observed.counts.keys()):
        followed = any("included" in side.observed.counts[name] for side in (a, b))
        what = "included" if followed else "accepted"  # what goes into no block
        flows = [_flow(side.observed, name, what, width) for side in (a, b)]
        values = [[value for _, value in flow] for flow in flows]
        found = level_difference(*values)
        yield Metric(f"{what} by {name}", "/s", sorted(values[0]), sorted(values[1]), found, lower_is_better=False)


def _levels(name: str, a: Points, b: Points, width: float, *, lower_is_better: bool | None) -> Iterator[Metric]:
    ours, theirs = (sorted(value for _, value in side) for side in (a, b))
    if not (ours and theirs):
        return
    level = level_difference(*([median(one) for one in stretches(side, width, _LEAST)] for side in (a, b)))
    yield Metric(f"{name}: p50", "s", ours, theirs, level, lower_is_better=lower_is_better)
    tail = tail_difference(stretches(a, width, 1), stretches(b, width, 1), 99)
    if tail is not None:
        yield Metric(f"{name}: p99", "s", ours, theirs, tail, lower_is_better=lower_is_better)


def _width(state: RunState) -> float:
    start, end = driven(state)
    interval = state.run.block_interval if state.run else 1.0
    return max(_INTERVALS_PER_STRETCH * max(0.1, interval), (end - start) / MAX_STRETCHES)


def _driven(points: Points, state: RunState) -> list[Point]:
    start, end = driven(state)
    return [(t - start, value) for t, value in points if start <= t <= end]


def _flow(observed: Observed, name: str, what: str, width: float) -> list[Point]:
    start, end = driven(observed.state)
    return rates(observed.counts[name].get(what, ()), grid(start, end, MAX_STRETCHES, width))


def _corrected(metrics: tuple[Metric, ...]) -> tuple[Metric, ...]:
    judged = [metric for metric in metrics if metric.difference is not None]
    found = iter(holm([metric.difference.p for metric in judged if metric.difference is not None]))
    return tuple(replace(metric, p=next(found)) if metric.difference is not None else metric for metric in metrics)


def _metric_table(metrics: Sequence[Metric]) -> Table:
    columns = ("measured", "A: p50 · p99 of n", "B: p50 · p99 of n", "change", "95 % interval", "p", "says")
    rows = tuple(Row(_metric_cells(metric), metric.mood) for metric in metrics)
    notes = (
        f"Samples are gathered in stretches of time, which are compared. p50: change of the median stretch, p by "
        f"Mann–Whitney; p99: change of the percentile of all samples, p by bootstrap over stretches. 95 % intervals by "
        f"bootstrap over stretches; p corrected by Holm for {len(metrics)} comparisons. Differs: p < {SIGNIFICANCE:g}, "
        f"an interval without 0, and at least {RELEVANT:.0%}.",
        "Of two single runs this says that they differ, not why: repeat both before a conclusion is drawn from it.",
    )
    return Table("what was measured during the drive", columns, rows, frozenset(columns[1:-1]), notes=notes)


def _metric_cells(metric: Metric) -> tuple[str, ...]:
    show = seconds if metric.unit == "s" else per_second
    sides = (_in_short(metric.a, show), _in_short(metric.b, show))
    found = metric.difference
    if found is None:
        return (metric.name, *sides, NONE, NONE, NONE, metric.judged)
    change = f"{show(found.a)} → {show(found.b)}" + ("" if found.change is None else f", {found.change:+.1%}")
    interval = f"{_signed(found.low, metric.unit)} … {_signed(found.high, metric.unit)}"
    return (metric.name, *sides, change, interval, f"{metric.p:.2g}" if metric.p is not None else NONE, metric.judged)


def _in_short(ordered: Sequence[float], show: Callable[[float], str]) -> str:
    if not ordered:
        return NONE
    return f"{show(percentile(ordered, 50))} · {show(percentile(ordered, 99))} of {len(ordered):,}"


def _signed(value: float, unit: str) -> str:
    shown = seconds(abs(value)) if unit == "s" else per_second(abs(value))
    return f"{'−' if value < 0 else '+'}{shown}"


def _verdicts(a: Side, b: Side) -> Table:
    rows = []
    for letter, side in (("A", a), ("B", b)):
        summary = summarize(side.observed.state, alive=side.alive)
        rows.append(Row((letter, side.run_id, summary.verdict, sentence(summary.reason)), summary.mood))
    return Table("runs", ("", "run", "verdict", "why"), tuple(rows), wide=frozenset({"why"}))


def _expectations(a: RunState, b: RunState) -> Table:
    rows = []
    for name in dict.fromkeys((*a.expectations, *b.expectations)):
        ours, theirs = a.expectations.get(name), b.expectations.get(name)
        verdicts = [(one.verdict or "not judged") if one else "not asked" for one in (ours, theirs)]
        changed = verdicts[0] != verdicts[1]
        mood = (mood_of(verdicts[1]) if changed else Mood.PLAIN) if theirs else Mood.DOUBTFUL
        measured = [one.measured if one and one.measured else NONE for one in (ours, theirs)]
        rows.append(Row((name, verdicts[0], verdicts[1], "changed" if changed else "as before", *measured), mood))
    columns = ("expectation", "A", "B", "verdict", "measured in A", "measured in B")
    return Table("expectations", columns, tuple(rows), wide=frozenset({"measured in A", "measured in B"}))


def _settings(a: Side, b: Side) -> Table:
    """Every setting that the two do not share; what only one of them has at all is one line."""
    asked = [_named(_asked(side)) for side in (a, b)]
    alone = {key for key in asked[0].keys() ^ asked[1].keys() if _entry(key)}
    ours, theirs = (dict(_settings_of(one, alone)) for one in asked)
    rows = [
        Row((key, ours.get(key, NONE), theirs.get(key, NONE)))
        for key in dict.fromkeys((*ours, *theirs))
        if ours.get(key) != theirs.get(key)
    ]
    title = "settings that differ" if rows else "the same was asked of both"
    left = len(rows) - _MAX_SETTINGS
    notes = (f"… and {left:,} more",) if left > 0 else ()
    return Table(title, ("setting", "A", "B"), tuple(rows[:_MAX_SETTINGS]), wide=frozenset({"A", "B"}), notes=notes)


def _asked(side: Side) -> Mapping[str, Any]:
    """The playbook as it was resolved, and on what it was run."""
    run = side.observed.state.run
    try:
        playbook: dict[str, Any] = tomllib.loads(side.playbook)
    except tomllib.TOMLDecodeError:
        playbook = {}
    if run is None:
        return playbook
    machines = sorted({str(about.get("machine", "")) for about in run.nodes.values()})
    return {
        **(playbook or {"vars": run.variables}),
        "harness": run.version,
        "deployer": {"name": run.deployer, **run.deployer_options},
        "seed": run.seed,
        "playbook file": run.playbook,
        "nodes": len(run.nodes),
        "machines": machines,
    }


def _entry(key: str) -> bool:
    return key.startswith(tuple(f"{what}[" for what in _BY_NAME))


def _named(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Workloads and expectations by what they use, not by their places: where one stands in the file asks nothing."""
    named: dict[str, Any] = {}
    for key, value in asked.items():
        if key not in _BY_NAME or not all(isinstance(one, Mapping) and "use" in one for one in value):
            named[key] = value
            continue
        times = Counter[str]()
        for one in value:
            times[one["use"]] += 1
            again = f" {times[one['use']]}" if times[one["use"]] > 1 else ""
            named[f"{key}[{one['use']}{again}]"] = one
    return named


def _settings_of(named: Mapping[str, Any], alone: Set[str]) -> Iterator[tuple[str, str]]:
    for key, value in named.items():
        if key in alone:
            options = {name: told for name, told in _flat(value) if name != "use" and told}
            yield key, ", ".join(f"{name} = {told}" for name, told in options.items()) or "asked for"
        else:
            yield from _flat(value, key)


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple) and value and all(isinstance(inner, Mapping) for inner in value):
        for number, inner in enumerate(value):
            name = f"{number} {inner['use']}" if isinstance(inner.get("use"), str) else str(number)
            yield from _flat(inner, f"{path}[{name}]")
    elif value is not None:
        is_plain = isinstance(value, str) or type(value) is int  # a seed is copied, not read
        yield path, str(value) if is_plain else figure(jsonable(value))


def _told(expectations: Table, metrics: Sequence[Metric], settings: Table) -> Iterator[tuple[str, Mood]]:
    for row in expectations.rows:
        if row.cells[3] == "changed":
            yield f"{row.cells[0]}: {row.cells[1]} in A, {row.cells[2]} in B", row.mood
    for metric in metrics:
        if metric.judged == DIFFERS and metric.difference is not None:
            change = metric.difference.change
            by = "" if change is None else f" by {abs(change):.0%}"
            word = "lower" if metric.difference.b < metric.difference.a else "higher"
            show = seconds if metric.unit == "s" else per_second
            levels = f"{show(metric.difference.a)} → {show(metric.difference.b)}"
            of = "" if metric.name.endswith(": p99") else " in the median stretch of time"
            yield f"{metric.name}: {word} in B{by} ({levels}{of})", metric.mood
    unknown = [metric.name for metric in metrics if metric.judged == UNKNOWN]
    if unknown:
        yield f"too short to say: {', '.join(unknown)}", Mood.DOUBTFUL
    if not any(metric.judged == DIFFERS for metric in metrics) and len(unknown) < len(metrics):
        yield "what was measured does not differ by more than noise", Mood.PLAIN
    if not metrics:
        yield "nothing was measured in both", Mood.DOUBTFUL
    differ = (
        f"{counted(len(settings.rows), 'setting')} asked for differently"
        if settings.rows
        else "the same was asked of both"
    )
    yield differ, Mood.PLAIN


def _charts(metrics: Sequence[Metric]) -> Iterator[Chart]:
    """Of each quantity, which share of its samples was at most so much: further left is less."""
    for metric in metrics:
        if metric.unit != "s" or metric.name.endswith(": p99") or not (metric.a and metric.b):
            continue
        lines = (Line("A", _shares(metric.a), 0), Line("B", _shares(metric.b), 1))
        end = max(metric.a[-1], metric.b[-1])
        yield Chart(
            f"{metric.name.removesuffix(': p50').capitalize()}: share of samples that are at most so long",
            lines, min(0.0, metric.a[0], metric.b[0]), end if end > 0 else 1.0,
            value=_percent, place=seconds, is_time=False, has_steps=True,
        )  # fmt: skip


def _shares(ordered: Sequence[float]) -> Points:
    count = min(len(ordered), _ECDF)
    ranks = sorted({round(len(ordered) * (index + 1) / count) for index in range(count)})
    return [(ordered[0], 0.0), *((ordered[rank - 1], rank / len(ordered)) for rank in ranks)]


def _percent(share: float) -> str:
    return f"{share:.0%}"
