"""Summaries as text, by rich: in colours on a terminal, without any in pipes. Imports rich: import it when needed.

Every text from outside passes `one_line` and goes into a `Text`: it is never read as markup, and no control
character in it reaches the terminal."""

from __future__ import annotations

from typing import IO

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Column
from rich.table import Table as RichTable
from rich.text import Text

from harness.record.summary import Mood, Summary, Table
from harness.record.text import one_line

STYLES = {Mood.GOOD: "green", Mood.DOUBTFUL: "yellow", Mood.BAD: "red", Mood.PLAIN: ""}
_PIPE_WIDTH = 120


def console_for(file: IO[str]) -> Console:
    """A console on this stream. Colours only on a terminal, and not where NO_COLOR is set; pipes get lines of up to
    120 characters, whatever the terminal's width."""
    width = None if file.isatty() else _PIPE_WIDTH
    return Console(file=file, width=width, markup=False, emoji=False, highlight=False, safe_box=False)


def render_summary(summary: Summary, console: Console, *, brief: bool = False) -> None:
    """Print it. `brief`: the expectations and the verdict, nothing else."""
    parts: list[RenderableType] = []
    if not brief:
        parts += [_header(summary)]
        parts += [_table(table) for table in (summary.nodes, summary.workloads, summary.faults) if table.rows]
    if summary.expectations.rows:
        parts.append(_table(summary.expectations, bold=1))
    if not brief:
        parts += [_detail(detail.title, detail.lines, detail.mood) for detail in summary.details]
        if summary.warnings.rows:
            parts.append(_table(summary.warnings))
    parts.append(_verdict(summary))
    if not brief and (summary.files or summary.again):
        parts.append(_footer(summary))
    for index, part in enumerate(parts):
        if index:
            console.print()
        console.print(part)


def render_table(table: Table, console: Console) -> None:
    """Print one table, such as a matrix's."""
    console.print(_table(table))


def _text(value: str, style: str = "") -> Text:
    return Text(one_line(value), style=style, overflow="fold")


def _header(summary: Summary) -> RenderableType:
    title = Text.assemble((one_line(summary.name), "bold"), "  ", (one_line(summary.run_id), "dim"))
    lines = [title, _text(" · ".join(summary.facts))]
    if summary.phases:
        lines.append(_text(summary.phases, "dim"))
    return Group(*lines)


def _table(table: Table, bold: int | None = None) -> RenderableType:
    """`bold`: the column to be set so. A row's mood colours its first cell, and the whole row when it is bad."""
    columns = [
        Column(name, overflow="fold", justify="right" if name in table.numeric else "left") for name in table.columns
    ]
    grid = RichTable(
        *columns, box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="dim", title_justify="left"
    )
    for row in table.rows:
        style = STYLES[row.mood]
        cells = [_text(cell, style if index == 0 else "") for index, cell in enumerate(row.cells)]
        if bold is not None:
            cells[bold].stylize("bold")
        if row.under:
            cells[-1 if bold is None else bold].append("\n" + one_line(row.under), "dim not bold")
        grid.add_row(*cells)
    parts: list[RenderableType] = [Text(table.title.upper(), style="bold"), grid]
    if table.more:
        parts.append(_text(table.more, "dim"))
    return Group(*parts)


def _detail(title: str, lines: tuple[str, ...], mood: Mood) -> RenderableType:
    return Group(_text(title, f"bold {STYLES[mood]}"), *(Padding(_text(line), (0, 0, 0, 2)) for line in lines))


def _verdict(summary: Summary) -> RenderableType:
    code = "" if summary.exit_code is None else f"  (exit code {summary.exit_code})"
    return Text.assemble(
        (one_line(summary.verdict), f"bold {STYLES[summary.mood]}".strip()),
        "  ",
        one_line(summary.reason),
        (code, "dim"),
        overflow="fold",
    )


def _footer(summary: Summary) -> RenderableType:
    """Paths and the command stay on one line each, so that they can be copied."""
    width = max(len(label) for label, _ in (*summary.files, ("run again", "")))
    pairs = [*summary.files, *([("run again", summary.again)] if summary.again else [])]
    lines = [Text.assemble((label.ljust(width + 2), "dim"), one_line(text)) for label, text in pairs]
    for line in lines:
        line.no_wrap = True
        line.overflow = "ignore"
    return Group(*lines)
