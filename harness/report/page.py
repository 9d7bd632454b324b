"""Pages: one file each, without any script or anything from elsewhere.

Every text passes `one_line` and jinja2's escaping on its way into a page, whatever template it is in; and the page
itself forbids browsers to run or fetch anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from harness.record.rundir import RunDirectory
from harness.record.summary import Summary, summarize
from harness.record.tables import NONE, Mood, Table
from harness.record.text import block, one_line, sentence
from harness.report.chart import Chart, draw, swatch
from harness.report.charts import MAX_BANDS, MAX_MARKS, MAX_WORKLOADS, charts_of
from harness.report.compare import Comparison
from harness.report.gantt import draw_timeline
from harness.report.matrix import MatrixSummary
from harness.report.network import Network, draw_network
from harness.report.observed import Observed
from harness.report.samples import SampleReading
from harness.report.views import (
    ExpectationView,
    Tile,
    expectation_views,
    fault_table,
    list_of_phases,
    node_table,
    step_table,
    tiles,
    warning_table,
    workload_table,
)

GLYPHS = {Mood.GOOD: "✓", Mood.DOUBTFUL: "?", Mood.BAD: "✗", Mood.PLAIN: "•"}
"""Beside each colour, so that none says anything alone."""
_LONGEST_PLAYBOOK = 200_000


@dataclass(frozen=True, slots=True)
class Drawn:
    """A chart and its picture."""

    chart: Chart
    picture: Markup


@dataclass(frozen=True, slots=True)
class RunPage:
    """All that a run's page shows."""

    summary: Summary
    tiles: tuple[Tile, ...]
    expectations: tuple[ExpectationView, ...]
    timeline: Markup
    lanes_left_out: int
    charts: tuple[Drawn, ...]
    faults: Table
    steps: Table
    network: Network | None
    nodes: Table
    workloads: Table
    warnings: Table
    phases: Sequence[str]
    playbook: str
    versions: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def run_page(
    observed: Observed,
    samples: SampleReading,
    *,
    directory: RunDirectory | None = None,
    playbook: str = "",
    alive: bool = False,
    skipped: int = 0,
    command: Sequence[str] = (),
) -> str:
    """The report of one run, as HTML. `playbook` is the text of run.toml; `alive`, `skipped` and `command` as for
    `summarize`."""
    state = observed.state
    timeline, lanes_left_out = draw_timeline(observed)
    page = RunPage(
        summarize(state, directory, alive=alive, skipped=skipped, command=command),
        tiles(observed, samples),
        expectation_views(state),
        timeline,
        lanes_left_out,
        drawn(charts_of(observed, samples)),
        fault_table(observed),
        step_table(state),
        draw_network(state),
        node_table(state, alive),
        workload_table(state, samples),
        warning_table(state, skipped),
        list_of_phases(state),
        playbook[:_LONGEST_PLAYBOOK],
        _versions(observed),
        tuple(_notes(observed, samples, playbook)),
    )
    return render("run.html.j2", page=page)


def matrix_page(summary: MatrixSummary) -> str:
    """The summary of a matrix, as HTML."""
    return render("matrix.html.j2", m=summary, charts=drawn(summary.charts))


def comparison_page(comparison: Comparison) -> str:
    """Two runs side by side, as HTML."""
    return render("compare.html.j2", c=comparison, charts=drawn(comparison.charts))


def drawn(charts: Sequence[Chart]) -> tuple[Drawn, ...]:
    return tuple(Drawn(chart, draw(chart)) for chart in charts)


def _versions(observed: Observed) -> tuple[tuple[str, str], ...]:
    run = observed.state.run
    if run is None:
        return ()
    return (("harness", run.version), ("chain", run.chain), ("deployer", run.deployer))


def _notes(observed: Observed, samples: SampleReading, playbook: str) -> list[str]:
    """What is not in this report, and what is not as it was seen."""
    notes = [f"{samples.problem}: there are no latencies over time"] if samples.problem else []
    if observed.thinned:
        notes.append(
            "Of each short stretch of time, charts show the smallest, the greatest and the last value: no peak is lost."
        )
    notes += [
        f"{count:,} {what} more are in the journal, not in the charts" for what, count in observed.left_out.items()
    ]
    shown = (
        ("faults", MAX_BANDS, sum("injected" in fault.reached for fault in observed.state.faults.values())),
        ("exits and violations", MAX_MARKS, len(observed.moments)),
        ("workloads", MAX_WORKLOADS, max(len(observed.counts), len(samples.latencies))),
    )
    notes += [f"Charts show the first {most} of {count:,} {what}." for what, most, count in shown if count > most]
    if len(playbook) > _LONGEST_PLAYBOOK:
        notes.append("The playbook is longer than is shown: see run.toml")
    return notes


def render(template: str, **values: Any) -> str:
    """Fill in one of the templates of this package."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("harness.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(glyph=GLYPHS.__getitem__, none_said=NONE, swatch=swatch, version=version("harness"))
    environment.filters["toml"] = toml
    environment.filters["sentence"] = sentence
    return environment


def _harmless(value: Any) -> Any:
    return value if isinstance(value, Markup) else one_line("" if value is None else value)


def toml(text: str) -> Markup:
    """A TOML text, with its comments, headings and keys told apart."""
    return Markup("\n").join(map(_toml_line, block(text).split("\n")))


def _toml_line(line: str) -> Markup:
    stripped = line.lstrip()
    if stripped.startswith("#"):
        return Markup('<span class="c">{}</span>').format(line)
    if stripped.startswith("["):
        return Markup('<span class="h">{}</span>').format(line)
    key, equals, value = line.partition(" = ")
    return Markup('<span class="k">{}</span> = {}').format(key, value) if equals else escape(line)
