"""From directories as runs leave them: finished, going on, killed, old, damaged."""

from __future__ import annotations

import gzip
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from harness.clock import SystemClock
from harness.observe.samples import SCHEMA, SampleStore
from harness.observe.submissions import Submission
from harness.report.reading import page_of, read_run
from harness.report.samples import Answers, read_latencies, read_samples

BEGAN = 1_769_860_800.0
_RECORDED = Path(__file__).parents[1] / "tui" / "journals"


def test_percentiles_of_latencies_over_time(write_run: Any, events: Any) -> None:
    run = write_run("chaos-7f3a", events(), rate=10)
    reading = read_latencies(run.samples, BEGAN)
    latencies = reading.latencies["transactions"]
    every = sorted(latency for _, latency in read_samples(run.samples, BEGAN)["transactions"])
    assert reading.problem == ""
    assert latencies.whole and (latencies.whole.count, latencies.whole.max) == (600, every[-1])
    assert latencies.whole.p50 == every[299]
    assert latencies.width == 2.0
    assert sum(one.count for one in latencies.over_time) == 600
    assert latencies.over_time[0].t == pytest.approx(3.0)
    assert all(one.p50 <= one.p90 <= one.p99 <= one.max for one in latencies.over_time)


def test_only_what_was_accepted_and_included_has_a_latency(write_run: Any, events: Any) -> None:
    run = write_run("chaos-7f3a", events(), rate=1)
    with sqlite3.connect(run.samples) as db:
        rows = [
            ("rejected", BEGAN + 5, BEGAN + 9),
            ("accepted", BEGAN + 5, None),
            ("accepted", "x", BEGAN + 9),
            ("accepted", 5e300, BEGAN + 9),
        ]
        for number, (outcome, sent, included) in enumerate(rows, 900):
            row = ("transactions", number, "x", outcome, sent, None, included, None, "v", 0)
            db.execute("INSERT INTO submissions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    db.close()
    assert read_latencies(run.samples, BEGAN).latencies["transactions"].whole.count == 60


def test_the_warm_up_is_on_the_chart_and_in_no_figure(write_run: Any, events: Any, parse: Any) -> None:
    run = write_run("chaos-7f3a", events(), rate=10)
    before = read_latencies(run.samples, BEGAN).latencies["transactions"]
    with sqlite3.connect(run.samples) as db:
        db.execute("UPDATE submissions SET warming = 1, included_at = included_at + 50 WHERE number < 100")
    db.close()
    after = read_latencies(run.samples, BEGAN).latencies["transactions"]
    assert before.whole and after.whole and before.warming == 0
    assert (after.whole.count, after.warming) == (500, 100) and after.whole.max == before.whole.max
    assert after.over_time[0].p50 == pytest.approx(before.over_time[0].p50 + 50)
    assert max(latency for _, latency in read_samples(run.samples, BEGAN)["transactions"]) == after.whole.max
    text = parse(page_of(read_run(run))).text
    assert "transactions: latencies without 100 of the warm-up" in text and "600 samples; with 100 of the" in text
    with sqlite3.connect(run.samples) as db:
        db.execute("UPDATE submissions SET warming = 1")
    db.close()
    assert read_latencies(run.samples, BEGAN).latencies["transactions"].whole is None
    assert "600 samples; with 600 of the" in parse(page_of(read_run(run))).text


def test_samples_of_before_there_were_warm_ups(write_run: Any, events: Any) -> None:
    run = write_run("chaos-7f3a", events(), rate=10)
    with sqlite3.connect(run.samples) as db:
        db.execute("ALTER TABLE submissions DROP COLUMN warming")
    db.close()
    found = read_latencies(run.samples, BEGAN).latencies["transactions"]
    assert found.whole and (found.whole.count, found.warming) == (600, 0)


def test_samples_that_are_being_written_are_read(write_run: Any, events: Any) -> None:
    run = write_run("chaos-7f3a", events(), rate=0)
    clock = SystemClock()
    store = SampleStore(run.samples, clock)
    try:
        now = clock.now()
        store.submission(Submission("t", 1, "x", now, "accepted", now, now + 0.5, 1, "v"))
        writer = sqlite3.connect(run.samples)  # another, in the middle of its work
        while not writer.execute("SELECT 1 FROM sqlite_master WHERE name = 'load'").fetchall():
            assert not store.error
        writer.execute(
            "INSERT INTO submissions VALUES ('s', 1, 'x', 'accepted', ?, 0, ?, 1, 'v', 0)", (BEGAN, BEGAN + 1)
        )
        writer.commit()
        assert read_latencies(run.samples, BEGAN).latencies["s"].whole.p50 == 1.0
        writer.close()
    finally:
        store.close()
    assert not store.error
    assert set(read_latencies(run.samples, clock.wall()).latencies) == {"t"}


def test_answers_of_what_is_not_followed_one_by_one(write_run: Any, events: Any) -> None:
    def second(
        tracker: str, sender: int, until: Any, taken: Any, p50: Any, p99: float, longest: float
    ) -> tuple[Any, ...]:
        rest = (1.0, 10, 10, 10, taken, 0, 0, 0, 0, 0, 0, 0, 0, 0.1, 0.0)
        return (tracker, sender, until, *rest, p50, p99, longest)

    run = write_run("chaos-7f3a", events(), rate=1)
    with sqlite3.connect(run.samples) as db:
        db.execute("DROP TABLE IF EXISTS load")
    assert read_latencies(run.samples, BEGAN).answers == {}
    rows = [
        second("http", 0, BEGAN + 5.5, 10, 0.1, 0.5, 0.7),
        second("http", 1, BEGAN + 5.5, 30, 0.3, 0.4, 0.9),
        second("http", 0, BEGAN + 20.5, 10, 0.2, 0.2, 0.2),
        second("http", 0, BEGAN + 21.5, 10, 0.0, 0.0, 0.0),  # of the warm-up
        second("http", 0, "x", 10, 0.1, 0.1, 0.1),
        second("http", 0, 5e300, 10, 0.1, 0.1, 0.1),
        second("http", 0, BEGAN + 22.5, "x", 0.1, 0.1, 0.1),
        second("http", 0, BEGAN + 40.5, 1, "x", 0.1, 0.1),
        second("transactions", 0, BEGAN + 5.5, 10, 0.1, 0.1, 0.1),  # these are followed
    ]
    with sqlite3.connect(run.samples) as db:
        db.executescript(SCHEMA)
        db.executemany(f"INSERT INTO load VALUES ({', '.join('?' * 21)}, 0, 0)", rows)  # none cut off, none untold
    db.close()
    reading = read_latencies(run.samples, BEGAN)
    assert reading.problem == ""
    assert set(reading.answers) == {"http"}
    assert reading.answers["http"] == (
        Answers(5.0, 40, pytest.approx(0.25), 0.5, 0.9),
        Answers(20.0, 10, 0.2, 0.2, 0.2),
        Answers(40.0, 1, 0.0, 0.1, 0.1),
    )
    page = page_of(read_run(run))
    assert "Latency of http" in page and "Latency of transactions" in page


def test_without_samples_the_page_says_so(write_run: Any, events: Any) -> None:
    run = write_run("chaos-7f3a", events(), rate=0)
    assert "there is no samples.sqlite: there are no latencies over time" in page_of(read_run(run))
    run.samples.write_bytes(b"no database, whatever it is called" * 100)
    assert "samples.sqlite: file is not a database" in page_of(read_run(run))


def test_a_torn_journal_is_read_as_far_as_it_goes(write_run: Any, events: Any, parse: Any) -> None:
    run = write_run("chaos-7f3a", events())
    whole = run.journal.read_bytes()
    lines = whole.splitlines(keepends=True)
    run.journal.write_bytes(b"".join(lines[:50]) + b"not a line\n" + b"".join(lines[50:80]) + lines[80][:20])
    record = read_run(run)
    page = parse(page_of(record))
    assert not record.alive
    assert "DEAD" in page.text and "1 line of the journal could not be read" in page.text


def test_what_was_not_judged_is_told_where_it_is_asked_for(write_run: Any, events: Any, parse: Any) -> None:
    begun = [one for one in events(sources={"liveness": "play.toml:7:1"}) if one[0] < 9]
    page = parse(page_of(read_run(write_run("chaos-7f3a", begun))))
    words = " ".join(page.text.split())
    assert "play.toml:7:1" in words[words.index("not judged liveness") :][:60], words


def test_a_journal_of_before_there_were_matrices(write_run: Any, events: Any) -> None:
    run = write_run("chaos-7f3a", events())
    lines = run.journal.read_text().splitlines()
    first = json.loads(lines[0])
    for field in ("matrix", "sources", "deployer_options", "command", "variables"):
        del first[field]
    run.journal.write_text("\n".join([json.dumps(first), *lines[1:]]) + "\n")
    assert "two blocks at height 12" in page_of(read_run(run))


def test_a_directory_with_nothing_in_it(write_run: Any) -> None:
    run = write_run("chaos-7f3a", [], rate=0)
    run.journal.unlink()
    run.run_toml.unlink()
    assert "wrote nothing into its journal" in page_of(read_run(run))


@pytest.mark.parametrize(
    ("name", "verdict"), [("healthy", "PASS"), ("failing", "FAIL"), ("aborted", "INTERRUPTED"), ("partitioned", "PASS")]
)
def test_journals_of_real_runs_have_whole_pages(write_run: Any, parse: Any, name: str, verdict: str) -> None:
    run = write_run("real-7f3a", [], rate=0)
    run.journal.write_bytes(gzip.decompress((_RECORDED / f"{name}.jsonl.gz").read_bytes()))
    record = read_run(run)
    page = parse(page_of(record))
    assert (record.skipped, page.wrong, page.unclosed) == (0, [], [])
    assert page.text.split("·")[0].strip() == verdict  # the title
    assert record.observed.intervals and len(record.observed.heights) == len(record.observed.state.nodes)
    assert not record.observed.left_out
