"""What a search shows: a table of its rates, charts, and a page. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from harness.record.tables import NONE, Mood, Row, Table
from harness.report.chart import Chart, Line, Mark
from harness.report.charts import per_second, seconds
from harness.report.page import drawn, render
from harness.search.criterion import parse_criterion
from harness.search.finding import Finding
from harness.search.record import BROKEN, Probe, Search
from harness.search.strategy import Outcome

_MOODS = {Outcome.PASS: Mood.GOOD, Outcome.FAIL: Mood.BAD}


def level_table(search: Search) -> Table:
    """One row for each rate, medians of its probes."""
    rates = sorted({probe.rate for probe in search.probes if probe.outcome != BROKEN})
    rows = []
    for rate in rates:
        probes = [probe for probe in search.probes if probe.rate == rate and probe.outcome != BROKEN]
        passed = sum(probe.outcome == Outcome.PASS for probe in probes)
        why = next((probe.reason for probe in probes if probe.reason), NONE)
        mood = Mood.GOOD if passed == len(probes) else Mood.BAD if not passed else Mood.DOUBTFUL
        shown = [
            _shown(name, _median(probes, name))
            for name in ("offered", "accepted", "achieved", "p50", "p99", "inclusion")
        ]
        rows.append(Row((search.value(rate), *shown, f"{passed} of {len(probes)}", why), mood))
    columns = (search.settings.vary, "offered", "accepted", "achieved", "p50", "p99", "inclusion", "passed", "why not")
    notes = ("Medians of the probes. Achieved: in a block by the end of the drive.",)
    return Table("rates", columns, tuple(rows), frozenset(columns[:-1]), frozenset({"why not"}), notes)


def probe_table(search: Search) -> Table:
    """One row for each probe, in the order in which they were made."""
    names = ("offered", "achieved", "p50", "p99", "inclusion")
    rows = [
        Row(
            (
                str(probe.number),
                search.value(probe.rate),
                probe.outcome,
                *(_shown(name, probe.figures.get(name)) for name in names),
                probe.reason or NONE,
                probe.run,
            ),
            next((mood for outcome, mood in _MOODS.items() if outcome == probe.outcome), Mood.DOUBTFUL),
        )
        for probe in search.probes
    ]
    columns = ("probe", search.settings.vary, "outcome", *names, "why not", "run")
    return Table(
        "probes", columns, tuple(rows), frozenset({"probe", search.settings.vary, *names}), frozenset({"why not"})
    )


def probe_line(search: Search, probe: Probe) -> str:
    """What is told of a probe when it is over."""
    figures = [
        f"{name} {_shown(name, value)}"
        for name in ("offered", "achieved", "p99", "inclusion")
        if (value := probe.figures.get(name)) is not None
    ]
    why = f": {probe.reason}" if probe.reason else ""
    return f"probe {probe.number}  {search.value(probe.rate)}  {probe.outcome}{why}  {', '.join(figures)}".rstrip()


def _median(probes: Sequence[Probe], name: str) -> float | None:
    values = [value for probe in probes if (value := probe.figures.get(name)) is not None]
    return median(values) if values else None


def _shown(name: str, value: float | None) -> str:
    if value is None:
        return NONE
    if name in ("p50", "p99"):
        return seconds(value)
    return f"{int(1000 * value) / 10:g} %" if name in ("sustained", "inclusion", "acceptance") else per_second(value)


def search_charts(search: Search, finding: Finding | None) -> tuple[Chart, ...]:
    """Achieved, and latency, against what was offered; of each probe a point, the line through the medians."""
    probes = [probe for probe in search.probes if probe.outcome != BROKEN and probe.figures.get("offered") is not None]
    rates = sorted({probe.rate for probe in probes})
    groups = [[probe for probe in probes if probe.rate == rate] for rate in rates]
    places = [_median(group, "offered") or 0.0 for group in groups]
    if not places:
        return ()
    place_of = dict(zip(rates, places, strict=True))
    marks = _marks(finding, place_of)
    end = max(places) * 1.03
    at = "Each point is a probe, lines go through the medians."
    if marks:
        at += " Upright lines: the highest that passed, the lowest that did not."

    def line(name: str, look: str) -> tuple[Line, Line]:
        points = sorted(
            (x, y) for x, group in zip(places, groups, strict=True) if (y := _median(group, name)) is not None
        )
        dots = sorted((place_of[p.rate], y) for p in probes if (y := p.figures.get(name)) is not None)
        return Line(name, points, look), Line(name, dots, look, dots=True)

    offered = Line("offered", sorted((x, x) for x in places), "offered")
    accepted, _ = line("accepted", "accepted")
    achieved, dots = line("achieved", "included")
    p50, p50_dots = line("p50", "included")
    p99, p99_dots = line("p99", "refused")
    bound = parse_criterion(search.settings.until).level("p50", "p90", "p99", "max")
    level = None if bound is None else (bound, "asked for")

    def chart(title: str, lines: tuple[Line, ...], listed: tuple[Line, ...], of_time: bool) -> Chart:
        return Chart(
            title, lines, 0.0, end, seconds if of_time else per_second, per_second, is_time=False, marks=marks, note=at,
            listed=listed, level=level if of_time else None,
        )  # fmt: skip

    return (
        chart("Achieved against offered", (offered, accepted, achieved, dots), (offered, accepted, achieved), False),
        chart("Latency against offered", (p50, p50_dots, p99, p99_dots), (p50, p99), True),
    )


def _marks(finding: Finding | None, place_of: Mapping[float, float]) -> tuple[Mark, ...]:
    if finding is None:
        return ()
    ends = (
        (finding.end.passed, "the highest that passed", "steered"),
        (finding.end.failed, "the lowest that did not", "exit"),
    )
    return tuple(
        Mark(place_of[level.rate], label, kind)
        for level, label, kind in ends
        if level is not None and level.rate in place_of
    )


def search_page(search: Search, finding: Finding | None, links: Mapping[str, str]) -> str:
    """As HTML: one file. `links` lead to the runs' own reports."""
    mood = Mood.DOUBTFUL if finding is None or finding.exit_code else Mood.GOOD
    return render(
        "search.html.j2",
        search=search,
        verdict="goes on" if finding is None else "found" if not finding.exit_code else "not found",
        mood=mood,
        finding=finding,
        charts=drawn(search_charts(search, finding)),
        levels=level_table(search),
        probes=probe_table(search),
        links=links,
    )
