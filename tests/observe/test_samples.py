from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from harness.clock import SystemClock
from harness.observe import samples
from harness.observe.blocks import BlockHeader, BlockSeen
from harness.observe.samples import SampleStore
from harness.observe.submissions import Submission


def seen(height: int, hash: str = "h") -> BlockSeen:
    return BlockSeen("node", BlockHeader(height, hash, "p", 5.0, tx_count=3), 1.0, 1e9, live=True)


def sent(number: int, outcome: str, included_at: float | None = None) -> Submission:
    return Submission("t", number, f"id{number}", 1.0, outcome, 2.0, included_at, None, "node")


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def test_what_was_put_in_is_in_the_file_and_the_last_word_on_a_submission_stays(tmp_path: Path) -> None:
    clock = SystemClock()
    store = SampleStore(tmp_path / "s.sqlite", clock)
    store.block(seen(1))
    store.submission(sent(1, ""))
    store.submission(sent(1, "accepted", included_at=4.0))
    store.submission(sent(2, "rejected"))
    store.close()
    assert (store.error, store.dropped) == ("", 0)
    assert rows(tmp_path / "s.sqlite", "SELECT * FROM blocks") == [("node", 1, "h", "p", 5.0, 1e9, 1, 3)]
    offset = clock.wall() - clock.now()
    [(outcome, included), second] = rows(
        tmp_path / "s.sqlite", "SELECT outcome, included_at FROM submissions ORDER BY number"
    )
    assert (outcome, included) == ("accepted", pytest.approx(4.0 + offset, abs=1))
    assert second == ("rejected", None)
    assert [path.name for path in tmp_path.iterdir()] == ["s.sqlite"]


def test_whatever_a_node_sends_can_be_stored(tmp_path: Path) -> None:
    store = SampleStore(tmp_path / "s.sqlite", SystemClock())
    store.block(seen(2**80, "\ud800'; DROP TABLE blocks; --"))
    store.close()
    assert store.error == ""
    assert rows(tmp_path / "s.sqlite", "SELECT height, hash FROM blocks") == [(2**63 - 1, "?'; DROP TABLE blocks; --")]


def test_the_queue_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "QUEUE_LIMIT", 10)
    monkeypatch.setattr(samples, "BATCH_EVERY", 60.0)
    store = SampleStore(tmp_path / "s.sqlite", SystemClock())
    for height in range(15):
        store.block(seen(height))
    store.close()
    assert store.dropped == 5
    assert rows(tmp_path / "s.sqlite", "SELECT count(*) FROM blocks") == [(10,)]


def test_a_file_that_cannot_be_written_is_told_and_harms_nobody(tmp_path: Path) -> None:
    store = SampleStore(tmp_path / "no such folder" / "s.sqlite", SystemClock())
    store.block(seen(1))
    store.close()
    store.block(seen(2))
    assert "unable to open" in store.error
    assert store.dropped == 2


def test_after_a_kill_the_file_holds_everything_up_to_the_last_batch(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    script = textwrap.dedent(
        """
        import sys, sqlite3
        from pathlib import Path
        from harness.clock import SystemClock
        from harness.observe import samples
        from harness.observe.blocks import BlockHeader, BlockSeen
        samples.BATCH_EVERY = 0.05
        store = samples.SampleStore(Path(sys.argv[1]), SystemClock())
        height = 0
        while True:
            height += 1
            store.block(BlockSeen("n", BlockHeader(height, "h", "p", 0.0), 0.0, 0.0))
            if height % 1000 == 0:
                print(height, flush=True)
                store._closing.wait(0.02)
        """
    )
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, "-c", script, str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    with process.stdout:
        while int(process.stdout.readline()) < 20_000:
            pass
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    [(count, highest)] = rows(path, "SELECT count(*), max(height) FROM blocks")
    assert count == highest
    assert isinstance(highest, int)
    assert highest > 1000
