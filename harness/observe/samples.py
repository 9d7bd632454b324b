"""samples.sqlite: every block seen, every submission, and every second of what sends, for analysis afterwards.

Written by a thread of its own in batches, so that the event loop never waits for the disk. The file is in SQLite's
write-ahead mode: whoever is killed leaves everything up to the last batch readable."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.clock import Clock
from harness.observe.blocks import BlockSeen
from harness.observe.senders import LoadSample
from harness.observe.submissions import Submission

BATCH_EVERY = 1.0
"""Seconds between two batches."""
QUEUE_LIMIT = 200_000
"""Rows that may wait for the disk. More are dropped, and counted."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS blocks (
    node TEXT NOT NULL, height INTEGER NOT NULL, hash TEXT NOT NULL, parent TEXT NOT NULL,
    header_time REAL NOT NULL, seen_at REAL NOT NULL, live INTEGER NOT NULL, tx_count INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS submissions (
    tracker TEXT NOT NULL, number INTEGER NOT NULL, id TEXT NOT NULL, outcome TEXT NOT NULL,
    intended_at REAL NOT NULL, answered_at REAL, included_at REAL, height INTEGER, node TEXT NOT NULL,
    warming INTEGER NOT NULL,
    PRIMARY KEY (tracker, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS load (
    tracker TEXT NOT NULL, sender INTEGER NOT NULL, until REAL NOT NULL, seconds REAL NOT NULL,
    offered INTEGER NOT NULL, started INTEGER NOT NULL, on_time INTEGER NOT NULL, taken INTEGER NOT NULL,
    refused INTEGER NOT NULL, timed_out INTEGER NOT NULL, lost INTEGER NOT NULL, failed INTEGER NOT NULL,
    dropped INTEGER NOT NULL, unready INTEGER NOT NULL, behind INTEGER NOT NULL, in_flight INTEGER NOT NULL,
    cpu REAL NOT NULL, lateness_p99 REAL NOT NULL,
    response_p50 REAL NOT NULL, response_p99 REAL NOT NULL, response_max REAL NOT NULL,
    cut_off INTEGER NOT NULL, untold INTEGER NOT NULL
);
"""
_INSERT_BLOCK = "INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_SUBMISSION = "INSERT OR REPLACE INTO submissions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_LOAD = f"INSERT INTO load VALUES ({', '.join('?' * 23)})"


class SampleStore:
    """Writes a run's samples. All times in the file are Unix seconds.

    `error` says what went wrong with the file, "" if nothing did; `dropped` counts the rows that are not in it."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.error = ""
        self.dropped = 0
        self._path = path
        self._wall = clock.wall() - clock.now()  # what turns monotonic into Unix seconds
        self._blocks: list[tuple[Any, ...]] = []
        self._submissions: list[tuple[Any, ...]] = []
        self._loads: list[tuple[Any, ...]] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._write, name="samples", daemon=True)
        self._thread.start()

    def block(self, seen: BlockSeen) -> None:
        """Record a block seen at a node."""
        h = seen.header
        row = (seen.node, h.height, h.hash, h.parent, h.time, seen.wall, seen.live, h.tx_count)
        self._put(self._blocks, row)

    def submission(self, sent: Submission) -> None:
        """Record how a submission stands; replaces what was recorded of it before."""
        wall = self._wall
        row = (
            sent.tracker,
            sent.number,
            sent.id,
            sent.outcome,
            wall + sent.intended_at,
            None if sent.answered_at is None else wall + sent.answered_at,
            None if sent.included_at is None else wall + sent.included_at,
            sent.height,
            sent.node,
            sent.warming,
        )
        self._put(self._submissions, row)

    def load(self, sample: LoadSample) -> None:
        """Record a sender's second."""
        tally = sample.tally
        row = (
            sample.tracker, sample.sender, self._wall + sample.until, sample.seconds,
            tally.offered, tally.started, tally.on_time, tally.taken, tally.read, tally.timed_out, tally.lost,
            tally.failed, tally.dropped, tally.unready, tally.behind, sample.in_flight, sample.cpu,
            sample.lateness_p99, sample.response_p50, sample.response_p99, sample.response_max,
            tally.cut_off, tally.untold,
        )  # fmt: skip
        self._put(self._loads, row)

    def close(self) -> None:
        """Write what waits and close the file. Waits for the disk."""
        self._closing.set()
        self._thread.join()

    def _put(self, rows: list[tuple[Any, ...]], row: tuple[Any, ...]) -> None:
        with self._lock:
            if len(rows) < QUEUE_LIMIT and not self.error:
                rows.append(row)
            else:
                self.dropped += 1

    def _write(self) -> None:
        try:
            connection = sqlite3.connect(self._path)
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=NORMAL")
                connection.executescript(SCHEMA)
                while not self._closing.wait(BATCH_EVERY):
                    self._batch(connection)
                self._batch(connection)
                with contextlib.suppress(sqlite3.OperationalError):  # somebody reads it: complete, if in two files
                    connection.execute("PRAGMA journal_mode=DELETE")
            finally:
                connection.close()
        except sqlite3.Error as error:
            with self._lock:
                self.error = f"{self._path}: {error}"
                for rows in (self._blocks, self._submissions, self._loads):
                    self.dropped += len(rows)
                    rows.clear()

    def _batch(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            blocks, self._blocks[:] = self._blocks[:], []
            submissions, self._submissions[:] = self._submissions[:], []
            loads, self._loads[:] = self._loads[:], []
        with connection:
            connection.executemany(_INSERT_BLOCK, map(_storable, blocks))
            connection.executemany(_INSERT_SUBMISSION, map(_storable, submissions))
            connection.executemany(_INSERT_LOAD, loads)


def _storable(row: Sequence[Any]) -> tuple[Any, ...]:
    """What nodes send as heights and hashes need not fit SQLite's integers and UTF-8."""
    return tuple(
        value.encode("utf-8", "replace").decode()
        if isinstance(value, str)
        else max(-(2**63), min(value, 2**63 - 1))
        if isinstance(value, int)
        else value
        for value in row
    )
