"""What is shown while a run goes on."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from harness.cli.faces.json_lines import JsonLinesFace
from harness.cli.faces.plain import PlainFace
from harness.cli.faces.writer import BackgroundWriter
from harness.record.events import (
    Event,
    FaultStaged,
    NodeChanged,
    Note,
    PhaseEnded,
    Recorded,
    RunFinished,
    ViolationSeen,
)
from harness.record.journal import Journal

Wrap = Callable[..., list[Recorded]]


def plain(events: list[Recorded], **how: Any) -> tuple[str, str]:
    """stdout and stderr of the plain face."""
    out, err = io.StringIO(), io.StringIO()
    face = PlainFace(out, err, **how)
    for recorded in events:
        face(recorded)
    face.finish()
    return out.getvalue(), err.getvalue()


def test_progress_goes_to_stderr_and_the_summary_to_stdout(
    timeline: Any, record: Wrap, snapshot: SnapshotAssertion
) -> None:
    out, err = plain(record(timeline))
    assert err == snapshot
    assert "EXPECTATIONS" in out and "EXPECTATIONS" not in err and "+12" not in out.splitlines()[1]


def test_quiet_prints_only_expectations_and_verdict(timeline: Any, record: Wrap) -> None:
    out, err = plain(record(timeline), quiet=True)
    assert err == ""
    assert out.startswith("EXPECTATIONS") and out.splitlines()[-1].startswith("FAIL") and "NODES" not in out


def test_several_reasons_are_a_sentence(timeline: Any, record: Wrap) -> None:
    reason = "a is not there\nb\x1b[2J is late"
    ended = RunFinished("", 3, "infrastructure-failed", reason, 1.0)
    out, _ = plain(record([*timeline[:-1], (184.0, ended)]), quiet=True)
    assert "a is not there; b\\x1b[2J is late" in out


def test_of_what_a_reason_quotes_the_last_line_is_told(timeline: Any, record: Wrap) -> None:
    reason = "a was not healed: it was killed; the end of a.log:\n    INFO one\n    INFO two\n    INFO three\nb is late"
    events = [*timeline[:-1], (183.0, Note("chaos.churn", "error", reason))]
    out, err = plain(record([*events, (184.0, RunFinished("", 3, "infrastructure-failed", reason, 1.0))]))
    told = "a was not healed: it was killed; the end of a.log: … INFO three; b is late"
    assert f"INFRASTRUCTURE FAILED {told} (exit code 3)" in " ".join(out.split())
    assert f"error: chaos.churn: {told}" in " ".join(err.split())
    assert "INFO one" not in out + err


def test_a_phase_that_fails_for_several_nodes_says_so_in_a_line(record: Wrap) -> None:
    error = "a is not there; the end of its log:\n    last words\nb\x1b[2J is late"
    _, err = plain(record([PhaseEnded("deploy", False, 1.0, error)]))
    told = "a is not there; the end of its log: last words; b\\x1b[2J is late"
    assert [line.split("  ")[-1] for line in err.splitlines()] == [f"deploy failed after 1s: {told}"]


def test_what_repeats_is_told_a_few_times_only(record: Wrap) -> None:
    events: list[Event] = [ViolationSeen("no-forks", f"fork {i}") for i in range(100)]
    events += [Note("x", "warning", "late")] * 100
    _, err = plain(record(events))
    assert err.count("no-forks violated") == 3 and "further ones are in the journal" in err
    assert err.count("warning: x: late") == 1


def test_text_from_outside_does_not_steer_the_terminal(record: Wrap) -> None:
    hostile = "\x1b[2J\r[red]x[/red]\n\x9b"
    events = [
        NodeChanged("n" + hostile, "exited", None, hostile, False),
        FaultStaged("f", hostile, (hostile,), "not-applied", error=hostile),
        Note(hostile, "error", hostile),
        ViolationSeen(hostile, hostile),
    ]
    out, err = plain(record(events))
    assert all(char.isprintable() or char == "\n" for char in out + err)
    assert len(err.splitlines()) == 4 and err.count("[red]x[/red]") >= 4


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_only_on_terminals_and_not_with_no_color(
    record: Wrap, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], coloured: bool
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    controller, terminal = pty.openpty()
    with os.fdopen(controller, "rb", buffering=0) as screen, os.fdopen(terminal, "w") as stream:
        face = PlainFace(io.StringIO(), stream)
        for recorded in record([Note("x", "error", "boom")]):
            face(recorded)
        face.close()
        shown = screen.read(4096).decode()
    assert "boom" in shown
    assert ("\x1b[31m" in shown) is coloured


def test_json_is_the_journal_byte_for_byte(timeline: Any, tmp_path: Path, clock: Any) -> None:
    journal = Journal(tmp_path / "journal.jsonl", clock)
    journal.append(timeline[0][1])  # written before anybody listened: part of the journal all the same
    out = io.BytesIO()
    face = JsonLinesFace(journal.path, out)
    journal.subscribe(face)
    for moment, event in timeline[1:]:
        clock.time = moment
        journal.append(event)
    journal.close()
    face.close()
    face.close()
    assert out.getvalue() == journal.path.read_bytes() and len(out.getvalue().splitlines()) == len(timeline)


def full_pipe() -> tuple[int, int]:
    """A pipe that takes nothing more until it is read."""
    reading, writing = os.pipe()
    size = fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ)
    os.write(writing, b"." * size)
    return reading, writing


def test_a_reader_that_does_not_read_holds_up_nothing(tmp_path: Path, clock: Any) -> None:
    reading, writing = full_pipe()
    journal = Journal(tmp_path / "journal.jsonl", clock)
    with os.fdopen(reading, "rb") as pipe, os.fdopen(writing, "wb", buffering=0) as stream:
        face = JsonLinesFace(journal.path, stream)
        journal.subscribe(face)
        for i in range(1000):
            journal.append(Note("x", "info", str(i)))  # would wait for ever, if it waited
        journal.close()
        received: list[bytes] = []
        reader = threading.Thread(target=lambda: received.extend(iter(lambda: os.read(pipe.fileno(), 65536), b"")))
        reader.start()
        face.close()
        stream.close()
        reader.join()
    assert b"".join(received).lstrip(b".") == journal.path.read_bytes()


def test_a_reader_that_goes_away_ends_the_output_and_not_the_run(tmp_path: Path, clock: Any) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    journal = Journal(tmp_path / "journal.jsonl", clock)
    with os.fdopen(writing, "wb", buffering=0) as stream:
        face = JsonLinesFace(journal.path, stream)
        journal.subscribe(face)
        for _ in range(3):
            journal.append(Note("x", "info", "y"))
        journal.close()
        face.close()


class HungUp(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")


def test_a_terminal_that_hung_up_does_not_hold_up_the_end() -> None:
    writer = BackgroundWriter(HungUp())
    for _ in range(3):
        writer.write("x")
    writer.close()
    writer.close()
