"""`harness runs compare`: two runs side by side."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from harness.cli.reporting import side_of
from harness.errors import ExitCode, UsageError
from harness.record.codec import jsonable
from harness.record.render import STYLES, console_for, render_table
from harness.record.rundir import RunDirectory, write_atomically
from harness.record.text import one_line
from harness.report.compare import Comparison, Metric, compare
from harness.report.page import comparison_page
from harness.report.series import percentile


def show_comparison(a: RunDirectory, b: RunDirectory, *, html: Path | None, as_json: bool) -> int:
    """Print it, and write it as a page where one is asked for. Raises UsageError."""
    compared = compare(side_of(a), side_of(b))
    if html is not None:
        try:
            write_atomically(html, comparison_page(compared))
        except OSError as error:
            raise UsageError(f"the comparison cannot be written: {error}") from None
    if as_json:
        click.echo(json.dumps(_as_json(compared), indent=2))
        return ExitCode.PASS
    console = console_for(sys.stdout)
    for table in (compared.verdicts, compared.metrics, compared.expectations, compared.settings):
        if table.rows:
            render_table(table, console)
            click.echo()
    for text, mood in compared.told:
        console.print(one_line(text), style=STYLES[mood] or None, soft_wrap=True)
    if html is not None:
        click.echo(one_line(f"page  {html}"))
    return ExitCode.PASS


def _as_json(compared: Comparison) -> dict[str, object]:
    tables = {"expectations": compared.expectations, "settings": compared.settings}
    plain: dict[str, object] = jsonable(
        {
            "a": compared.a.run_id,
            "b": compared.b.run_id,
            "told": [text for text, _ in compared.told],
            "metrics": [_metric(metric) for metric in compared.measured],
            **{name: [dict(zip(t.columns, row.cells, strict=True)) for row in t.rows] for name, t in tables.items()},
        }
    )
    return plain


def _metric(metric: Metric) -> dict[str, object]:
    """Seconds, or per second; `compared` is what the change is of: the median stretch, or the p99 of all samples."""
    sides = {
        name: {"n": len(values), **{f"p{p}": percentile(values, p) for p in (50, 90, 99)}} if values else {"n": 0}
        for name, values in (("a", metric.a), ("b", metric.b))
    }
    found = metric.difference
    told = (
        {
            "compared": {"a": found.a, "b": found.b},
            "change": found.change,
            "low": found.low,
            "high": found.high,
            "p": metric.p,
        }
        if found
        else {}
    )
    return {"name": metric.name, "unit": metric.unit, **sides, **told, "says": metric.judged}
