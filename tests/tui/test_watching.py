"""Which moment of a run is shown, and what is said of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict

import pytest

from harness.record.owner import Owner
from harness.record.rundir import RunDirectory
from harness.tui.moment import Mode, so_far
from harness.tui.panels.expectations import expectations
from harness.tui.panels.header import facts, header, phases
from harness.tui.panels.nodes import NodeTable, rows
from harness.tui.watching import Watching


def watching(directory: RunDirectory, *, replay: bool = False, now: float = 0.0) -> Watching:
    made = Watching(directory, lambda recorded, state: None, replay=replay, now=lambda: now)
    while made.advance(0.0):
        pass
    return made


def live(directory: RunDirectory, until: int) -> list[bytes]:
    """As if this process controlled it, and had come so far. What it has not written yet."""
    directory.controller.write_text(json.dumps(asdict(Owner.current())))
    lines = directory.journal.read_bytes().splitlines(keepends=True)
    directory.journal.write_bytes(b"".join(lines[:until]))
    return lines[until:]


def test_a_run_that_is_over_is_a_replay_that_stands_at_its_end(recording: Callable[[str], RunDirectory]) -> None:
    run = watching(recording("healthy"))
    moment = run.moment
    assert moment.mode is Mode.REPLAY and moment.speed == 0.0 and moment.t == moment.end == run.history.state.t
    assert so_far(moment.state)[0] == "PASS"
    assert not run.can_steer
    run.close()


def test_a_replay_plays_at_its_speed_stops_and_ends(recording: Callable[[str], RunDirectory]) -> None:
    run = watching(recording("healthy"), replay=True)
    assert run.moment.t == 0.0 and run.moment.state.run is None
    run.advance(3.0)
    assert run.moment.t == 3.0 and run.moment.speed == 1.0
    run.faster(1)
    run.faster(1)
    run.advance(1.0)
    assert run.moment.t == 7.0
    run.freeze()
    run.advance(5.0)
    assert run.moment.t == 7.0 and run.moment.speed == 0.0
    run.freeze()
    run.advance(1000.0)
    assert run.moment.t == run.end and run.moment.speed == 0.0
    run.freeze()  # once more from the beginning
    assert run.moment.t == 0.0 and run.moment.speed == 4.0
    run.close()


def test_seeking_shows_that_moment(recording: Callable[[str], RunDirectory]) -> None:
    run = watching(recording("healthy"))
    end = run.end
    run.seek(end / 2)
    assert run.moment.t == end / 2 and run.moment.state.finish is None
    run.seek_by(-1000)
    assert run.moment.t == 0.0
    run.seek_by(1000)
    assert run.moment.t == end
    run.newest()
    assert run.shows_all
    run.close()


def test_a_live_run_goes_on_while_the_display_is_frozen(recording: Callable[[str], RunDirectory]) -> None:
    directory = recording("healthy")
    rest = live(directory, 100)
    run = watching(directory, now=0.0)
    assert run.mode is Mode.LIVE and run.can_steer
    t = run.moment.t
    run.freeze()
    assert run.mode is Mode.FROZEN
    with directory.journal.open("ab") as file:
        file.write(b"".join(rest[:50]))
    run.advance(1.0)
    assert run.moment.t == t and run.history.state.t > t
    run.freeze()
    assert run.mode is Mode.LIVE and run.moment.t == run.history.state.t
    with directory.journal.open("ab") as file:
        file.write(b"".join(rest[50:]))
    run.advance(1.0)
    assert run.mode is Mode.REPLAY and not run.can_steer
    run.close()


def test_time_goes_on_between_events_while_it_is_live(recording: Callable[[str], RunDirectory]) -> None:
    directory = recording("healthy")
    live(directory, 100)
    earlier = watching(directory)
    began = earlier.history.state.began
    earlier.close()
    run = watching(directory, now=began + 500.0)
    assert run.moment.t == pytest.approx(500.0)
    run.close()


def test_a_controller_that_is_gone_without_a_word_is_told(recording: Callable[[str], RunDirectory]) -> None:
    directory = recording("healthy")
    live(directory, 100)
    directory.controller.write_text(
        json.dumps({"pid": 1, "start": "0", "boot": "another", "host": Owner.current().host})
    )
    run = watching(directory)
    assert run.mode is Mode.DISCONNECTED and not run.can_steer
    assert run.moment.t == run.history.state.t, "time does not go on for the dead"
    run.close()


def test_how_things_stood_last_is_not_told_as_how_they_stand(recording: Callable[[str], RunDirectory]) -> None:
    directory = recording("healthy")
    live(directory, 100)
    run = watching(directory)
    assert run.moment.state.phase == "drive" and "left" in header(run.moment, 120).plain
    assert "● running" in NodeTable(rows(run.moment.state)).line(0, 60).plain
    run.close()
    directory.controller.unlink()
    for replay in (False, True):
        run = watching(directory, replay=replay)
        run.newest()
        moment = run.moment
        assert "NOT JUDGED (its controller is gone: see `harness clean`)" in header(moment, 120).plain
        assert "left" not in header(moment, 120).plain and "drive cut off after" in phases(moment, 120).plain
        assert "? was running" in NodeTable(rows(moment.state, is_cut_off=moment.is_cut_off)).line(0, 60).plain
        words = expectations(moment, 80, 9).plain
        assert "unjudged" in words and "holding" not in words and "pending" not in words
        run.seek_by(-1.0)  # then, it ran
        assert ("left" in header(run.moment, 120).plain) is not replay  # which tells how far it goes
        assert "cut off" not in phases(run.moment, 120).plain
        run.close()


def test_a_live_run_that_says_nothing_is_told_to_be_silent(recording: Callable[[str], RunDirectory]) -> None:
    directory = recording("healthy")
    live(directory, 100)
    run = watching(directory)
    last = run.history.state.began + run.history.state.t
    run.close()
    for later, told in ((9.0, False), (75.0, True)):
        run = watching(directory, now=last + later)
        assert run.mode is Mode.LIVE
        assert ("nothing heard for 1:15" in header(run.moment, 120).plain) is told
        run.close()


def test_lines_that_cannot_be_read_are_told(recording: Callable[[str], RunDirectory]) -> None:
    directory = recording("healthy")
    lines = directory.journal.read_bytes().splitlines(keepends=True)
    endless = b'{"seq":31,"at":1.0,"t":1e400,"kind":"note","source":"x","level":"info","message":""}\n'
    directory.journal.write_bytes(b"".join([*lines[:30], b"\x00\xff garbage\n", endless, *lines[30:]]))
    run = watching(directory)
    assert run.moment.lost == 2 and "2 lines of the journal cannot be read" in facts(run.moment, 120).plain
    assert run.moment.t < 1e6
    run.close()


def test_paused_workloads_are_told(recording: Callable[[str], RunDirectory]) -> None:
    directory = recording("healthy")
    live(directory, 100)
    with directory.journal.open("ab") as file:
        file.write(b'{"seq":101,"at":1,"t":9.0,"kind":"steered","what":"pause","by":"root"}\n')
    run = watching(directory)
    assert run.mode is Mode.PAUSED
    run.close()


@pytest.mark.parametrize(("name", "word"), [("healthy", "PASS"), ("failing", "FAIL"), ("aborted", "INTERRUPTED")])
def test_the_verdict_is_never_better_than_what_is_known(
    recording: Callable[[str], RunDirectory], name: str, word: str
) -> None:
    run = watching(recording(name))
    assert so_far(run.moment.state)[0] == word
    run.seek(run.end - 2.0)
    assert so_far(run.moment.state)[0] != "PASS"
    run.close()
