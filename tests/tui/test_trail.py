"""One node over time, picked out of a journal of many."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from harness.record.codec import encode
from harness.record.events import BlockObserved, FeedChanged, NodeChanged, NodeMeasured, Note, Recorded
from harness.tui import trail as module
from harness.tui.trail import Trail

ODD = 'a "node" \\ of Zürich'


def events(count: int) -> list[Recorded]:
    rng, made, heights = random.Random(3), [], dict.fromkeys(("a", "aa", ODD), 0)
    for seq in range(1, count + 1):
        node, kind, t = rng.choice(list(heights)), rng.random(), seq / 10
        if kind < 0.5:
            heights[node] += rng.choice((0, 1, 1, 3))
            event = BlockObserved(node, heights[node], f"h{heights[node]}", "", t)
        elif kind < 0.7:
            event = NodeMeasured(node, 3, "v1", rng.choice((None, rng.random())), rng.choice((None, seq)))
        elif kind < 0.8:
            event = NodeChanged(node, "running", seq)
        elif kind < 0.9:
            event = FeedChanged(node, rng.random() < 0.5, "lost")
        else:
            event = Note("x", "info", f'about "node":"{node}"', {"node": node})
        made.append(Recorded(seq, 1000 + t, t, event))
    return made


@pytest.mark.parametrize("node", ["a", "aa", ODD])
def test_all_that_is_told_of_a_node_and_nothing_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, node: str
) -> None:
    monkeypatch.setattr(module, "BLOCK", 300)  # so that lines lie across blocks
    path, made = tmp_path / "journal.jsonl", events(600)
    trail = Trail(path, node)
    assert not trail.grow(1.0)  # it is not there yet
    content = b"".join(map(encode, made)) + b'{"torn":"node":"a"'
    half = len(content) // 2
    with path.open("wb", buffering=0) as file:
        for part in (content[:half], content[half:]):
            file.write(part)
            while trail.grow(0.0):
                pass
    mine = [one for one in made if getattr(one.event, "node", None) == node]
    blocks = [(one.t, one.event.height) for one in mine if isinstance(one.event, BlockObserved)]
    measured = [(one.t, one.event) for one in mine if isinstance(one.event, NodeMeasured)]
    assert list(zip(trail.heights.times, trail.heights.values, strict=True)) == blocks
    assert list(trail.cpu.values) == [event.cpu for _, event in measured if event.cpu is not None]
    assert list(trail.memory.times) == [t for t, event in measured if event.memory is not None]
    assert trail.changes == [one for one in mine if isinstance(one.event, NodeChanged | FeedChanged)]
    grown = [(t, height) for i, (t, height) in enumerate(blocks) if not i or height > blocks[i - 1][1]]
    assert len(trail.intervals) == len(grown) - 1
    trail.close()


def test_intervals_are_from_one_greater_height_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    seen = [(1.0, 5), (2.0, 5), (3.5, 6), (4.0, 6), (9.0, 9), (9.5, 8)]
    path.write_bytes(
        b"".join(encode(Recorded(i, t, t, BlockObserved("a", h, "", "", t))) for i, (t, h) in enumerate(seen))
    )
    trail = Trail(path, "a")
    trail.grow(1.0)
    assert list(trail.intervals.times) == [3.5, 9.0] and list(trail.intervals.values) == [2.5, 5.5]
    trail.close()
