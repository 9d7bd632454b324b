"""Latencies over time, from the samples of a run (harness.observe.samples)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby, islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness.report.series import percentile

STRETCHES = 90
"""Of so many stretches of time at most there are percentiles."""
LEAST_WIDTH = 2.0
"""Seconds that a stretch has at least."""
MAX_TRACKERS = 16
MAX_SAMPLES = 200_000
"""Latencies that are read one by one; of more, every second, third … is."""
_PERCENTILES = (50, 90, 99)

_FOLLOWED = """CREATE TEMP VIEW followed AS
    SELECT tracker, number, intended_at, max(0.0, included_at - intended_at) AS latency, {warming} AS warming
    FROM submissions WHERE outcome = 'accepted' AND included_at IS NOT NULL AND typeof(intended_at) = 'real'
    AND typeof(included_at) = 'real'"""
_WHERE = "FROM followed WHERE intended_at BETWEEN :began - 1e6 AND :began + 1e9"
_SPAN = f"SELECT min(intended_at), max(intended_at) {_WHERE}"
_BY_TIME = f"""SELECT tracker, CAST((intended_at - :first) / :width AS INTEGER) AS stretch, latency {_WHERE}
    ORDER BY tracker, stretch, latency"""
_ALL = f"SELECT tracker, latency {_WHERE} AND NOT warming ORDER BY tracker, latency"
_WARMING = f"SELECT tracker, count(*) {_WHERE} AND warming GROUP BY tracker"
_ANSWERS = """SELECT tracker, until - :began - seconds / 2 AS t, taken + refused AS n, CAST(response_p50 AS REAL),
    CAST(response_p99 AS REAL), CAST(response_max AS REAL) FROM load
    WHERE CAST(response_max AS REAL) > 0 AND n > 0 AND until BETWEEN :began - 1e6 AND :began + 1e9
    AND seconds BETWEEN 0 AND 1e6
    AND NOT EXISTS (SELECT 1 FROM submissions WHERE submissions.tracker = load.tracker) ORDER BY tracker, t"""
_COUNT = f"SELECT count(*) {_WHERE} AND NOT warming"
_IN_ORDER = f"""SELECT tracker, intended_at - :began, latency {_WHERE} AND NOT warming
    AND number % :every = 0 ORDER BY tracker, intended_at"""


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of `count` latencies in seconds, by nearest rank. `t`: the middle of their stretch of time, in seconds since the
    run began."""

    t: float
    count: int
    p50: float
    p90: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class TrackerLatencies:
    """From the intended moment of sending to the inclusion, of what was accepted and included: `whole` of the run but
    for its warm-up (None where nothing is left), `over_time` of stretches of `width` seconds, by the intended moment.
    `warming`: how many were of the warm-up. They are in `over_time` only."""

    whole: Percentiles | None
    over_time: tuple[Percentiles, ...]
    width: float
    warming: int = 0


@dataclass(frozen=True, slots=True)
class Answers:
    """How long `count` answers took since they were to be asked for, in seconds, as far as each sender's seconds tell:
    the mean of their medians, the worst of their 99th percentiles, the longest. `t` as above."""

    t: float
    count: int
    p50: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class SampleReading:
    """`answers` of trackers whose submissions are not followed one by one. `problem` says why there is nothing, ""
    where there is no problem."""

    latencies: Mapping[str, TrackerLatencies] = field(default_factory=dict)
    answers: Mapping[str, tuple[Answers, ...]] = field(default_factory=dict)
    problem: str = ""


def read_latencies(path: Path, began: float) -> SampleReading:
    """Percentiles of the latencies of each tracker. `began`: Unix seconds. Reads a run that goes on, too, and one that
    was killed; a file that cannot be read is told of, not raised for: a report goes without it."""
    if not path.exists():
        return SampleReading(problem="there is no samples.sqlite")
    try:
        with closing(_with_latencies(path)) as db:
            return SampleReading(_latencies(db, began), _answers(db, began))
    except sqlite3.Error as error:
        return SampleReading(problem=f"samples.sqlite: {error}")


def read_samples(path: Path, began: float) -> Mapping[str, list[tuple[float, float]]]:
    """The latencies of each tracker, without its warm-up: (seconds since the run began, latency), by the intended
    moment of sending. Empty without a file. Raises sqlite3.Error for one that is none."""
    if not path.exists():
        return {}
    with closing(_with_latencies(path)) as db:
        (count,) = db.execute(_COUNT, {"began": began}).fetchone()
        rows = db.execute(_IN_ORDER, {"began": began, "every": max(1, -(-count // MAX_SAMPLES))})
        return {tracker: [(t, latency) for _, t, latency in group] for tracker, group in groupby(rows, lambda r: r[0])}


def open_samples(path: Path) -> sqlite3.Connection:
    """The file for reading, whoever writes it. Raises sqlite3.Error."""
    return sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, timeout=5.0)


def _with_latencies(path: Path) -> sqlite3.Connection:
    """With a view of what was followed into a block."""
    db = open_samples(path)
    known = {name for _, name, *_ in db.execute("PRAGMA table_info(submissions)")}
    db.execute(_FOLLOWED.format(warming="warming" if "warming" in known else "0"))  # older files: all of it counts
    return db


def _latencies(db: sqlite3.Connection, began: float) -> dict[str, TrackerLatencies]:
    first, last = db.execute(_SPAN, {"began": began}).fetchone()
    if first is None:
        return {}
    width = max(LEAST_WIDTH, (last - first) / STRETCHES)
    stretches: dict[str, list[Percentiles]] = {}
    rows = db.execute(_BY_TIME, {"began": began, "first": first, "width": width})
    for (tracker, stretch), values in _groups(rows, 2):
        if tracker in stretches or len(stretches) < MAX_TRACKERS:
            middle = first - began + (stretch + 0.5) * width
            stretches.setdefault(tracker, []).append(_percentiles(middle, values))
    wholes = {
        tracker: _percentiles(0.0, values) for (tracker,), values in _groups(db.execute(_ALL, {"began": began}), 1)
    }
    warming = dict(db.execute(_WARMING, {"began": began}))
    return {
        name: TrackerLatencies(wholes.get(name), tuple(over), width, warming.get(name, 0))
        for name, over in stretches.items()
    }


def _answers(db: sqlite3.Connection, began: float) -> dict[str, tuple[Answers, ...]]:
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'load'").fetchone():
        return {}  # of a version that had none
    rows = groupby(db.execute(_ANSWERS, {"began": began}), lambda row: row[0])
    return {tracker: _stretched([Answers(*row[1:]) for row in group]) for tracker, group in islice(rows, MAX_TRACKERS)}


def _stretched(seconds: list[Answers]) -> tuple[Answers, ...]:
    first, last = seconds[0].t, seconds[-1].t
    width = max(LEAST_WIDTH, (last - first) / STRETCHES)
    return tuple(_together(list(group)) for _, group in groupby(seconds, lambda one: int((one.t - first) / width)))


def _together(seconds: list[Answers]) -> Answers:
    count = sum(one.count for one in seconds)
    median = sum(one.count * one.p50 for one in seconds) / count
    middle = sum(one.t for one in seconds) / len(seconds)
    return Answers(middle, count, median, max(one.p99 for one in seconds), max(one.max for one in seconds))


def _groups(rows: Iterator[tuple[Any, ...]], columns: int) -> Iterator[tuple[tuple[Any, ...], list[float]]]:
    for key, group in groupby(rows, lambda row: row[:columns]):
        yield key, [row[columns] for row in group]


def _percentiles(t: float, ordered: list[float]) -> Percentiles:
    p50, p90, p99 = (percentile(ordered, percent) for percent in _PERCENTILES)
    return Percentiles(t, len(ordered), p50, p90, p99, ordered[-1])
