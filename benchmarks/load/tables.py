"""What was found, as tables and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from figures import Trial, median
from generators import FOOTNOTES, K6, LOCUST_FAST, OURS, VEGETA, WRK
from schedule import Timed

NONE = "–"
GOALS = {LOCUST_FAST: 5.0, K6: 1.0, VEGETA: 1.0, WRK: 0.4}
"""How many times as many requests per second ours is to send, at the least."""
IN_TIME = {5_000.0: 0.001, 20_000.0: 0.005}
"""Seconds that the 99th percentile of ours may be late, by the rate, on a core that nobody else uses."""


def medians(trials: Sequence[Trial]) -> dict[str, float | None]:
    """Of the rounds of one generator."""
    figures = [trial.figures for trial in trials]
    return {
        "rate": median([each.rate for each in figures]),
        "cpu_per_thousand": median([trial.steady.cpu_per_thousand for trial in trials]),
        "busy": median([trial.steady.busy for trial in trials]),
        "p50": median([each.p50 for each in figures]),
        "p99": median([each.p99 for each in figures]),
        "server_busy": median([trial.server_busy for trial in trials]),
    }


def throughput(found: Mapping[str, Sequence[Trial] | str]) -> str:
    """Rows in falling order of rate; what was left out at the end, with why."""
    there = {name: trials for name, trials in found.items() if not isinstance(trials, str)}
    middle = {name: medians(trials) for name, trials in there.items()}
    rates = {name: figures["rate"] or 0.0 for name, figures in middle.items()}
    titles: tuple[str, ...] = (
        "requests/s",
        "least–most",
        "× ours",
        "× wrk",
        "CPU ms/1,000",
        "errors",
        "p50 ms",
        "p99 ms",
    )
    titles += ("busy", "server busy")
    rows: list[tuple[str, ...]] = [("generator", *titles)]
    for name in sorted(there, key=lambda name: -rates[name]):
        each = [trial.figures.rate for trial in there[name]]
        rows.append(
            (
                f"{name}{'*' if name in FOOTNOTES else ''}",
                f"{rates[name]:,.0f}",
                f"{min(each):,.0f}–{max(each):,.0f}",
                _times(rates[name], rates.get(OURS)),
                _times(rates[name], rates.get(WRK)),
                _number(middle[name]["cpu_per_thousand"], 1000, 1),
                f"{sum(trial.figures.errors for trial in there[name]):,}",
                _number(middle[name]["p50"], 1000, 2),
                _number(middle[name]["p99"], 1000, 2),
                _number(middle[name]["busy"], 100, 0) + " %",
                _number(middle[name]["server_busy"], 100, 0) + " %",
            )
        )
    lines = [*_table(rows), ""]
    if FOOTNOTES & there.keys():
        lines.append("* one round only")
    lines += [f"{name}: left out: {why}" for name, why in found.items() if isinstance(why, str)]
    for name, trials in there.items():
        for trial in trials:
            if trial.disputed:
                said = trial.figures.requests + trial.figures.errors
                lines.append(f"{name} tells of {said:,} requests, the server of {trial.served:,}")
    return "\n".join([*lines, *(_goals(middle) if OURS in middle else [])])


def _goals(middle: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    """Per CPU second, too: where others use the machine as well that tells more."""
    lines = []
    for other, goal in GOALS.items():
        per_second, cpu = (
            [middle.get(name, {}).get(key) for name in (OURS, other)] for key in ("rate", "cpu_per_thousand")
        )
        if per_second[0] and per_second[1] and cpu[0] and cpu[1]:
            times, per_cpu = per_second[0] / per_second[1], cpu[1] / cpu[0]
            lines.append(f"ours: {times:.2f} × {other} (goal: {goal:g}); per CPU second {per_cpu:.2f} ×")
    return lines


def schedule(found: Mapping[str, Sequence[Timed] | str]) -> str:
    rows: list[tuple[str, ...]] = [
        ("generator", "asked/s", "sent", "missing", "late p50 ms", "p99 ms", "max ms", "own p50", "p99", "max")
    ]
    for name, timed in found.items():
        for each in timed if not isinstance(timed, str) else ():
            seen, word = each.seen, each.word
            bound = "≥ " if seen.missing else ""
            observed = [
                "never" if value is None else f"{bound}{value * 1000:.3f}"
                for value in (seen.p50, seen.p99, seen.longest)
            ]
            own = [_number(value, 1000, 3) for value in (word.p50, word.p99, word.longest)]
            rows.append((name, f"{each.rate:,.0f}", f"{seen.sent:,}", f"{seen.missing:,}", *observed, *own))
    lines = [*_table(rows), ""]
    lines += [f"{name}: left out: {why}" for name, why in found.items() if isinstance(why, str)]
    mine = found.get(OURS, ())
    for each in mine if not isinstance(mine, str) else ():
        if each.rate in IN_TIME:
            late = "never" if each.seen.p99 is None else f"{each.seen.p99 * 1000:.3f} ms"
            lines.append(f"ours at {each.rate:,.0f}/s: p99 {late} late (goal: {IN_TIME[each.rate] * 1000:g} ms)")
    return "\n".join(lines)


def encoded(found: Mapping[str, Sequence[Trial] | Sequence[Timed] | str]) -> dict[str, Any]:
    """For JSON: of each generator its rounds, and their medians where there are some; or why it was left out."""
    value: dict[str, Any] = {}
    for name, what in found.items():
        if isinstance(what, str):
            value[name] = {"left_out": what}
            continue
        value[name] = {"rounds": [asdict(each) for each in what]}
        trials = [each for each in what if isinstance(each, Trial)]
        if trials:
            value[name]["median"] = medians(trials)
    return value


def _times(rate: float, of: float | None) -> str:
    return f"{rate / of:.2f}" if of else NONE


def _number(value: float | None, times: float, digits: int) -> str:
    return NONE if value is None else f"{value * times:.{digits}f}"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Markdown; the first row is the head, the first column to the left."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]

    def line(row: Sequence[str]) -> str:
        cells = [
            cell.ljust(width) if not n else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return f"| {' | '.join(cells)} |"

    rule = [f":{'-' * (widths[0] + 1)}", *(f"{'-' * (width + 1)}:" for width in widths[1:])]
    return [line(rows[0]), f"|{'|'.join(rule)}|", *(line(row) for row in rows[1:])]
