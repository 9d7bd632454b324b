"""The newest state of a long journal is there before its history is read, and is the very same."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.record.codec import encode
from harness.record.events import (
    BlockObserved,
    Event,
    FeedChanged,
    NodeChanged,
    NodeMeasured,
    Note,
    Recorded,
    ViolationSeen,
    WorkloadProgress,
)
from harness.record.journal import read_journal
from harness.record.reduce import reduce_all
from harness.record.rundir import RunDirectory
from harness.tui import gist as module
from harness.tui import watching as watching_module
from harness.tui.gist import Gist
from harness.tui.history import History
from harness.tui.watching import Watching

NAMES = ["load", "a", "b-1", 'quo"ted', "ünï", "gone"]


def journal(path: Path, seed: int, count: int = 2000) -> Path:
    """Blocks that go back and forth, nodes that fall silent, odd names, lines that are none."""
    rng, lines, height = random.Random(seed), [], 0
    for seq in range(count):
        node = rng.choice(NAMES if seq < count / 3 else NAMES[:-1])
        height += rng.random() < 0.2
        event: Event = rng.choice(
            (
                BlockObserved(node, height - rng.randrange(9), f"h{seq}", "p", 1e9 + height),
                BlockObserved(node, height, f"h{seq}", "p", 1e9 + height),
                NodeMeasured(node, rng.choice((None, 3)), rng.choice(("", "v1")), rng.choice((None, 0.5)), None),
                WorkloadProgress(
                    rng.choice(("load", '"')),
                    {"offered": seq, "kind": "block-observed"},
                    latency=rng.choice(({}, {}, {"p50": seq / 10})),
                ),
                FeedChanged(node, rng.random() < 0.5, '"kind":"block-observed","node":"a","height":99999,'),
                NodeChanged(node, "exited", None, "died", False),
                ViolationSeen("e", "m", {"kind": "block-observed", "node": "a", "height": 99999, "hash": "x"}),
                Note("x", rng.choice(("info", "warning")), str(seq % 7)),
            )
        )
        lines.append(encode(Recorded(seq, 1000.0 + seq, seq / 10, event)))
        if rng.random() < 0.01:
            lines.append(rng.choice((b"\n", b"no json\n", b'{"seq":1,"at":0,"t":0,"kind":"moon-landed"}\n')))
    path.write_bytes(b"".join(lines) + b'{"seq":9,"at":1,"t"')
    return path


@pytest.mark.parametrize("recent", [32, 256])
@pytest.mark.parametrize("seed", range(8))
def test_what_is_kept_reduces_to_the_state_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, recent: int
) -> None:
    monkeypatch.setattr(module, "BLOCK", 777 + seed)  # so that lines are cut
    monkeypatch.setattr(module, "RECENT", recent)
    monkeypatch.setattr(module, "ENOUGH", recent + 10)
    path = journal(tmp_path / "journal.jsonl", seed)
    gist = Gist(path)
    while gist.look(0.001):
        pass
    events = gist.events()
    assert reduce_all(recorded for _, recorded in events) == reduce_all(read_journal(path))
    content = path.read_bytes()
    assert all(content[place:].startswith(encode(recorded)) for place, recorded in events)
    assert content[gist.place :] == b'{"seq":9,"at":1,"t"'
    whole = History(path)
    for recorded in read_journal(path):
        whole.add(0, recorded)
    short = History(path)
    for place, recorded in events:
        short.add(place, recorded)
    count = min(recent // 4, len(whole.series.intervals) // 2)
    assert count and short.series.intervals.values[-count:] == whole.series.intervals.values[-count:]


def test_most_of_a_journal_is_let_go(tmp_path: Path) -> None:
    events = [BlockObserved(f"n{n}", height, "h", "p", 1.0) for height in range(1000) for n in range(5)]
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"".join(encode(Recorded(seq, 1.0, 1.0, event)) for seq, event in enumerate(events)))
    gist = Gist(path)
    while gist.look(1.0):
        pass
    assert len(gist.events()) < module.RECENT + module.LAST + 10


def test_who_lags_behind_or_was_last_seen_long_ago_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One node catches up with thousands of blocks while the others stand still, and one died at the beginning."""
    monkeypatch.setattr(module, "BLOCK", 10_000)
    events: list[Event] = [NodeChanged(name, "running", 1) for name in ("a", "b", "dead", "late")]
    events += [BlockObserved("dead", 1, "d", "p", 1.0), NodeMeasured("dead", 3, "v1"), NodeMeasured("dead", 2)]
    for height in range(2, 3000):
        events += [BlockObserved("a", height, "h", "p", 1.0), NodeMeasured("b", 1, "v2" if height < 9 else "")]
    events += [BlockObserved("late", height, "h", "p", 1.0) for height in range(2, 2900)]
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"".join(encode(Recorded(seq, 1.0, 1.0, event)) for seq, event in enumerate(events)))
    gist = Gist(path)
    while gist.look(1.0):
        pass
    found = reduce_all(recorded for _, recorded in gist.events())
    assert found == reduce_all(read_journal(path))
    assert found.highest is not None and found.highest.height == 2999
    assert found.nodes["b"].version == "v2" and found.nodes["dead"].peers == 2


def test_a_long_run_is_shown_as_it_is_now_and_its_history_read_behind(
    recording: Callable[[str], RunDirectory], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching_module, "LONG", 1000)
    directory = recording("failing")
    final = reduce_all(read_journal(directory.journal))
    heard: list[int] = []
    run = Watching(directory, lambda recorded, state: heard.append(recorded.seq))
    assert run.moment.read == 0.0 and run.moment.state.run is None
    monkeypatch.setattr(Watching, "_read", lambda self: True)  # the history has not been read
    while run._gist is not None:
        run.advance(0.0)
    assert run.moment.state == final and run.moment.read is not None and not heard
    assert not run.seek(run.end / 2) and run.shows_all
    run.seek(run.end)
    assert run.moment.state == final
    monkeypatch.undo()
    while run.advance(0.0):
        pass
    assert run.moment.read is None and heard and run.history.state == final
    assert run.seek(run.end / 2) and run.moment.state.finish is None
    run.close()
