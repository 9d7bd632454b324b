"""How long the report of an hour takes: `python benchmarks/report.py [EVENTS] [NODES]`.

Makes up a journal of so many events (200,000) of so many nodes (50) and 300,000 transactions, and reports it in a
process of its own, as `harness report` does."""

from __future__ import annotations

import random
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from harness.observe.samples import SCHEMA
from harness.record.codec import encode
from harness.record.events import (
    BlockObserved,
    Event,
    FaultStaged,
    PhaseStarted,
    Recorded,
    RunStarted,
    WorkloadProgress,
)

BEGAN = 1_769_860_800.0
TRANSACTIONS = 300_000


def hour(events: int, nodes: int) -> Iterator[tuple[float, Event]]:
    """A block a second on average, a fault a minute."""
    names = [f"validator-{n}" for n in range(nodes)]
    about = {name: {"role": "validator", "machine": "here", "links": []} for name in names}
    yield 0.0, RunStarted("hour", "hour", 1, "0", "devnet", "process", 3600, 1, 10, "", about, ("transactions",), ())
    yield 1.0, PhaseStarted("drive", 3600)
    rng, t, height, made = random.Random(1), 2.0, 0, 2
    while made < events:
        height, t = height + 1, t + rng.expovariate(1)
        for name in names:
            yield t, BlockObserved(name, height, f"{height:064x}", f"{height - 1:064x}", BEGAN + t)
        figures = {"offered": 100 * height, "accepted": 99 * height, "included": 98 * height}
        yield t, WorkloadProgress("transactions", figures)
        made += nodes + 1
        if height % 60 == 0:
            for stage in ("injected", "proven", "healing", "healed"):
                yield t, FaultStaged(f"f{height}", "restart", (names[height % nodes],), stage)
                made += 1


def write(folder: Path, events: int, nodes: int) -> None:
    with (folder / "journal.jsonl").open("wb") as file:
        for number, (t, event) in enumerate(hour(events, nodes), 1):
            file.write(encode(Recorded(number, BEGAN + t, t, event)))
    rng = random.Random(2)
    sent = (BEGAN + n * 3600 / TRANSACTIONS for n in range(TRANSACTIONS))
    rows = ((n, at, at + rng.expovariate(1)) for n, at in enumerate(sent))
    with sqlite3.connect(folder / "samples.sqlite") as db:
        db.executescript(SCHEMA)
        db.executemany(
            "INSERT INTO submissions VALUES ('transactions', ?, 'x', 'accepted', ?, NULL, ?, 1, 'v', 0)", rows
        )
    db.close()


def main() -> None:
    given = [int(text) for text in sys.argv[1:3]]
    events, nodes = (*given, *(200_000, 50)[len(given) :])
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "2026-01-31T12-00-00-hour-0000"
        run.mkdir()
        write(run, events, nodes)
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "harness", "report", str(run)], check=True, stdout=subprocess.DEVNULL)
        took = time.perf_counter() - began
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        size = (run / "report.html").stat().st_size
        megabytes = (run / "journal.jsonl").stat().st_size / 1e6
        print(f"{events:,} events of {nodes} nodes, {TRANSACTIONS:,} transactions, journal of {megabytes:.0f} MB")
        cpu = used.ru_utime + used.ru_stime
        print(f"report: {took:.1f} s ({cpu:.1f} s of CPU), {used.ru_maxrss / 1024:.0f} MB, page of {size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
