"""Summaries as text, by rich: in colours on a terminal, without any in pipes. Imports rich: import it when needed.

Every text from outside passes `one_line` and goes into a `Text`: it is never read as markup, and no control
character in it reaches the terminal."""

from __future__ import annotations

import io
from typing import IO

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Column
from rich.table import Table as RichTable
from rich.text import Text

from harness.record.summary import Detail, Summary
from harness.record.tables import NONE, Mood, Row, Table
from harness.record.text import one_line, sentence

STYLES = {Mood.GOOD: "green", Mood.DOUBTFUL: "yellow", Mood.BAD: "red", Mood.PLAIN: ""}
_PIPE_WIDTH = 120
_NARROW = 60
"""Columns below which a table is shown as lines of `key: value`."""


def console_for(file: IO[str]) -> Console:
    """A console on this stream. Colours only on a terminal, and not where NO_COLOR is set; pipes get lines of up to
    120 characters, whatever the terminal's width. What its encoding lacks is written as an escape."""
    if isinstance(file, io.TextIOWrapper):
        file.reconfigure(errors="backslashreplace")
    width = None if file.isatty() else _PIPE_WIDTH
    return Console(file=file, width=width, markup=False, emoji=False, highlight=False, safe_box=False)


def render_summary(summary: Summary, console: Console, *, brief: bool = False) -> None:
    """Print it. `brief`: the expectations, the verdict and where the rest is, nothing else."""
    width = console.width
    parts: list[RenderableType] = []
    if not brief:
        parts += [_header(summary)]
        parts += [_table(table, width) for table in (summary.nodes, summary.workloads, summary.faults) if table.rows]
    if summary.expectations.rows:
        parts.append(_table(summary.expectations, width, bold=1))
    if not brief:
        parts += [_detail(detail) for detail in summary.details]
        if summary.warnings.rows:
            parts.append(_table(summary.warnings, width))
    parts.append(_verdict(summary))
    for index, part in enumerate(parts):
        _print(console, *([""] if index else []), part)
    if brief and summary.files:
        label, path = summary.files[0]
        _print(console, Text.assemble((f"{label}  ", "dim"), one_line(path)), soft_wrap=True)
    if not brief and (footer := _footer(summary)):
        # Each path and the command on one line, so that they can be copied.
        _print(console, "", footer, soft_wrap=True)


def render_table(table: Table, console: Console) -> None:
    """Print one table, such as a matrix's."""
    _print(console, _table(table, console.width))


def _print(console: Console, *parts: RenderableType, soft_wrap: bool = False) -> None:
    """To a pipe or a file, without the blanks with which rich fills up lines."""
    with console.capture() as captured:
        for part in parts:
            console.print(part, soft_wrap=soft_wrap)
    text = captured.get()
    if not console.is_terminal:
        text = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
    console.file.write(text)


def _text(value: str, style: str = "") -> Text:
    """Wraps even in a column that is not to be broken first: nothing is ever cut off."""
    return Text(one_line(value), style=style, overflow="fold", no_wrap=False)


def _header(summary: Summary) -> RenderableType:
    title = Text.assemble((one_line(summary.name), "bold"), "  ", (one_line(summary.run_id), "dim"))
    lines = [title, _text(" · ".join(summary.facts))]
    if summary.variables:
        lines.append(_text(" · ".join(summary.variables)))
    if summary.phases:
        lines.append(_text(summary.phases, "dim"))
    if summary.prepare:
        lines.append(_text(f"prepare: {summary.prepare}"))
    return Group(*lines)


def _table(table: Table, width: int, bold: int | None = None) -> RenderableType:
    """`bold`: the column to be set so. A row's mood colours its first cell."""
    title, notes = Text(table.title.upper(), style="bold"), [_text(note, "dim") for note in table.notes]
    if width < _NARROW:
        return Group(title, *(_lines(table, row) for row in table.rows), *notes)
    columns = [
        Column(name, no_wrap=name not in table.wide, justify="right" if name in table.numeric else "left")
        for name in table.columns
    ]
    grid = RichTable(
        *columns, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="dim"
    )
    for row in table.rows:
        cells = [_text(cell, STYLES[row.mood] if index == 0 else "") for index, cell in enumerate(row.cells)]
        if bold is not None:
            cells[bold].stylize("bold")
        grid.add_row(*cells)
    return Group(title, grid, *notes)


def _lines(table: Table, row: Row) -> RenderableType:
    """A row for narrow terminals: its first cell, and the others beneath, each with its column's name."""
    first, *others = row.cells
    pairs = zip(table.columns[1:], others, strict=True)
    lines = [Padding(_text(f"{name}: {cell}"), (0, 0, 0, 2)) for name, cell in pairs if cell != NONE]
    return Group(_text(first, STYLES[row.mood]), *lines)


def _detail(detail: Detail) -> RenderableType:
    title = Text.assemble(
        (one_line(detail.title), f"bold {STYLES[detail.mood]}"), "  ", (one_line(detail.source), "dim"), overflow="fold"
    )
    return Group(title, *(Padding(_text(line), (0, 0, 0, 2)) for line in detail.lines))


def _verdict(summary: Summary) -> RenderableType:
    code = "" if summary.exit_code is None else f"  (exit code {summary.exit_code})"
    return Text.assemble(
        (one_line(summary.verdict), f"bold {STYLES[summary.mood]}".strip()),
        "  ",
        sentence(summary.reason),
        (code, "dim"),
        overflow="fold",
    )


def _footer(summary: Summary) -> Text:
    pairs = [*summary.files, *([("run again", summary.again)] if summary.again else [])]
    width = max((len(label) for label, _ in pairs), default=0) + 2
    return Text("\n").join(Text.assemble((label.ljust(width), "dim"), one_line(text)) for label, text in pairs)
