"""A run over time: its state at any moment is that of the events up to it; journals are followed as they grow."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from harness.record.codec import encode
from harness.record.events import BlockObserved, Note, PhaseStarted, Recorded, RunFinished, WorkloadProgress
from harness.record.reduce import reduce
from harness.record.state import RunState
from harness.tui import history as module
from harness.tui.follow import Follower
from harness.tui.history import History, Track, percentile, spread
from harness.tui.look import NONE
from harness.tui.moment import Mode, Moment
from harness.tui.panels.workloads import workloads


def events(count: int, seed: int = 7) -> list[Recorded]:
    """Blocks of five nodes, figures and notes, some in the same moment."""
    rng, t, made = random.Random(seed), 0.0, []
    for seq in range(1, count + 1):
        t += rng.choice((0.0, 0.0, 0.1, 0.7))
        kind = rng.random()
        if kind < 0.7:
            height = int(t) + 1
            event = BlockObserved(f"node-{rng.randrange(5)}", height, f"h{height}", f"h{height - 1}", 1000.0 + height)
        elif kind < 0.9:
            event = WorkloadProgress("transactions", {"offered": seq, "accepted": seq, "included": seq // 2})
        else:
            event = Note("engine", "warning", f"warning {rng.randrange(9)}")
        made.append(Recorded(seq, 1000 + t, round(t, 6), event))
    return made


def written(path: Path, made: list[Recorded]) -> Path:
    path.write_bytes(b"".join(map(encode, made)))
    return path


def loaded(path: Path) -> History:
    follower, history = Follower(path), History(path)
    while batch := follower.read():
        for place, recorded in batch:
            history.add(place, recorded)
    follower.close()
    return history


def test_the_state_at_a_moment_is_that_of_all_events_up_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_SPACING", 16)
    monkeypatch.setattr(module, "KEPT", 8)  # so that states are let go of, twice and more
    made = events(1500)
    history = loaded(written(tmp_path / "journal.jsonl", made))
    assert len(history._kept) < 16
    for t in [0.0, *(random.Random(1).uniform(0, made[-1].t + 5) for _ in range(40)), made[700].t]:
        state = RunState()
        for recorded in made:
            if recorded.t <= t:
                state = reduce(state, recorded)
        assert history.at(t) == state


def test_a_journal_is_read_as_it_grows_and_half_a_line_waits(tmp_path: Path) -> None:
    path, made = tmp_path / "journal.jsonl", events(10)
    follower = Follower(path)
    assert follower.read() == []  # it is not there yet
    lines = [encode(recorded) for recorded in made]
    with path.open("wb", buffering=0) as file:
        file.write(lines[0] + lines[1][:20])
        assert [recorded for _, recorded in follower.read()] == made[:1]
        assert follower.read() == []
        file.write(lines[1][20:] + b"not json\n" + lines[2])
        assert [recorded for _, recorded in follower.read()] == made[1:3]
        assert follower.skipped == 1
        file.write(b"".join(lines[3:]))
    places = dict(follower.read())
    assert list(places.values()) == made[3:]
    content = path.read_bytes()
    for place, recorded in places.items():
        assert content[place:].startswith(encode(recorded))
    follower.close()


def test_intervals_are_from_header_to_header_of_the_highest() -> None:
    history = History(Path("nowhere"))
    blocks = [(1, 10.0), (1, 10.0), (2, 12.5), (4, 15.0), (5, 16.0), (3, 14.0)]
    for seq, (height, time) in enumerate(blocks, 1):
        event = BlockObserved(f"node-{seq}", height, f"h{height}", "", time)
        history.add(0, Recorded(seq, 0.0, float(seq), event))
    assert list(history.series.intervals.values) == [2.5, 1.0]  # 3 was not seen before 4


def test_tracks_tell_rates_and_what_was_known() -> None:
    track = Track()
    assert track.at(1) is None and track.rate(0, 10) is None
    for t, value in ((1, 0), (2, 10), (3, 30)):
        track.add(t, value)
    assert track.at(0.5) is None and track.at(2.5) == 10 and track.at(9) == 30
    assert track.rate(0, 3) == 15 and track.rate(2.5, 9) is None
    assert list(spread(track, 0, 4, 2)) == [[0.0], [10.0, 30.0]]


def test_percentiles_are_of_the_values_themselves() -> None:
    assert percentile([], 0.5) is None
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile(range(1, 101), 0.99) == 99
    assert percentile([5.0], 0.01) == 5.0


def test_figures_that_are_none_do_no_harm() -> None:
    history = History(Path("nowhere"))
    odd = {"offered": True, "accepted": "many", "included": None, "rejected": float("nan"), "failed": 10**400}
    history.add(0, Recorded(1, 0.0, 1.0, WorkloadProgress("w", odd)))
    history.add(0, Recorded(2, 0.0, 2.0, PhaseStarted("drive")))
    history.add(0, Recorded(3, 0.0, 3.0, RunFinished("pass", 0, "done", "", 3.0)))
    assert history.series.figures["w"]["offered"].at(1) == 0.0


def test_what_goes_into_no_block_has_no_figure_of_it(tmp_path: Path) -> None:
    made = [
        Recorded(
            n, 1000.0 + n, float(n), WorkloadProgress("http", {"offered": 50 * n, "accepted": 50 * n, "failed": 0})
        )
        for n in range(1, 6)
    ]
    history = loaded(written(tmp_path / "journal.jsonl", made))
    moment = Moment(history.at(5.0), history.series, 5.0, 5.0, 9.0, Mode.LIVE)
    _, line = workloads(moment, 60, 9).plain.splitlines()
    assert line.split()[:5] == ["http", NONE, "50", NONE, "0"]  # asked, offered, in blocks, failed
