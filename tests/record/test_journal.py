"""Journals: what is written survives, and what is damaged does not hide the rest."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.record.codec import encode
from harness.record.events import Event, Note, PhaseStarted, Recorded
from harness.record.journal import Journal, read_journal


def note(text: str) -> Note:
    return Note("test", "info", text)


@pytest.fixture
def journal(tmp_path: Path, clock: Any) -> Any:
    journal = Journal(tmp_path / "journal.jsonl", clock)
    yield journal
    journal.close()


def test_events_are_numbered_timed_and_read_back(journal: Journal, clock: Any) -> None:
    written = [journal.append(note("a"))]
    clock.time = 1.25
    written.append(journal.append(PhaseStarted("drive", None)))
    assert [(r.seq, r.t) for r in written] == [(1, 0.0), (2, 1.25)]
    assert written[1].at - written[0].at == 1.25
    assert list(read_journal(journal.path)) == written
    assert journal.path.read_bytes() == b"".join(map(encode, written))


def test_a_journal_is_never_written_over(journal: Journal, clock: Any) -> None:
    with pytest.raises(FileExistsError):
        Journal(journal.path, clock)


def test_nothing_is_appended_once_it_is_closed(journal: Journal) -> None:
    journal.close()
    journal.close()
    with pytest.raises(ValueError, match="closed"):
        journal.append(note("late"))


def test_a_killed_writer_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    script = (
        "import os, signal, sys; from pathlib import Path; from harness.clock import SystemClock\n"
        "from harness.record.journal import Journal; from harness.record.events import Note\n"
        "journal = Journal(Path(sys.argv[1]), SystemClock())\n"
        "for i in range(500): journal.append(Note('test', 'info', str(i)))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, path]).returncode == -signal.SIGKILL
    assert [r.event for r in read_journal(path)] == [note(str(i)) for i in range(500)]


def test_a_tail_torn_anywhere_costs_only_the_torn_line(tmp_path: Path) -> None:
    events = [note("first"), note("grün \n\x00 “quoted”"), PhaseStarted("drive", 1.5)]
    lines = [encode(Recorded(i, 10.0 + i, float(i), event)) for i, event in enumerate(events, 1)]
    whole, path = b"".join(lines), tmp_path / "torn.jsonl"
    ends = [sum(map(len, lines[: i + 1])) for i in range(len(lines))]
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        reader = read_journal(path)
        complete = sum(length >= end - 1 for end in ends)  # without its newline, a line is still all there
        assert [r.event for r in reader] == events[:complete]
        assert reader.skipped == 0
        assert reader.torn == (length not in (0, *ends, *(end - 1 for end in ends)))


def test_damage_in_the_middle_is_counted_and_passed_over(tmp_path: Path) -> None:
    good = [encode(Recorded(i, 0.0, 0.0, note(str(i)))) for i in range(3)]
    path = tmp_path / "damaged.jsonl"
    path.write_bytes(good[0] + b"\x00" * 100 + b"\n" + good[1] + b"{}\n" + good[1][:20] + b"\n" + good[2])
    reader = read_journal(path)
    for _ in range(2):  # the counts are of one reading
        assert [r.event for r in reader] == [note("0"), note("1"), note("2")]
        assert reader.skipped == 3 and not reader.torn


def test_a_disk_that_is_full_does_not_stop_the_run(tmp_path: Path) -> None:
    """A limit on the file's size takes a part of a line and refuses the rest, as a full disk does."""
    path = tmp_path / "journal.jsonl"
    script = (
        "import resource, sys; from pathlib import Path; from harness.clock import SystemClock\n"
        "from harness.record.journal import Journal; from harness.record.events import Note\n"
        "journal = Journal(Path(sys.argv[1]), SystemClock()); told = []; journal.subscribe(told.append)\n"
        "soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
        "journal.append(Note('test', 'info', 'before'))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (150, hard))\n"
        "journal.append(Note('test', 'info', 'lost')); journal.append(Note('test', 'info', 'lost'))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))\n"
        "journal.append(Note('test', 'info', 'after'))\n"
        "print(len(told), type(journal.failure).__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["4", "OSError"]
    reader = read_journal(path)
    assert [(r.seq, r.event) for r in reader] == [(1, note("before")), (4, note("after"))]
    assert reader.skipped == 1


def test_subscribers_get_everything_in_order_also_what_others_add(journal: Journal) -> None:
    heard: list[tuple[str, Event]] = []

    def adds(recorded: Recorded) -> None:
        heard.append(("adds", recorded.event))
        if recorded.event == note("question"):
            journal.append(note("answer"))

    journal.subscribe(adds)
    journal.subscribe(lambda recorded: heard.append(("hears", recorded.event)))
    journal.append(note("question"))
    assert heard == [
        ("adds", note("question")),
        ("hears", note("question")),
        ("adds", note("answer")),
        ("hears", note("answer")),
    ]


def test_a_subscriber_is_told_after_the_line_is_written(journal: Journal) -> None:
    sizes: list[int] = []
    journal.subscribe(lambda recorded: sizes.append(journal.path.stat().st_size))
    journal.append(note("a"))
    assert sizes == [len(encode(next(iter(read_journal(journal.path)))))]


def test_a_broken_subscriber_is_noted_once_and_left_alone(journal: Journal) -> None:
    calls: list[Recorded] = []
    heard: list[Recorded] = []

    def broken(recorded: Recorded) -> None:
        calls.append(recorded)
        raise RuntimeError("no display")

    journal.subscribe(broken)
    journal.subscribe(heard.append)
    for text in "abc":
        journal.append(note(text))
    assert len(calls) == 1
    events = [r.event for r in read_journal(journal.path)]
    assert [r.event for r in heard] == events
    complaints = [e for e in events if isinstance(e, Note) and e.level == "error"]
    assert len(complaints) == 1 and "no display" in complaints[0].message and "broken" in complaints[0].message


def test_a_live_journal_can_be_read(journal: Journal, record: Callable[..., Any]) -> None:
    for i in range(10):
        journal.append(note(str(i)))
        assert len(list(read_journal(journal.path))) == i + 1
