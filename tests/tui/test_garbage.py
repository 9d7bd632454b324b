"""When the screen's process collects its garbage."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator

import pytest

from harness.tui import garbage
from harness.tui.garbage import AT_LATEST, EVERY, QUIET, Garbage


@pytest.fixture
def collections(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Of the whole heap, one entry each."""
    seen: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "stop" and info["generation"] == 2:
            seen.append(1)

    gc.callbacks.append(note)
    yield seen
    gc.callbacks.remove(note)


def test_it_waits_until_nobody_has_asked_for_anything(collections: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr(garbage.time, "monotonic", lambda: now)
    before = gc.get_threshold()
    one = Garbage()
    one.begin()
    try:
        assert gc.get_threshold()[:2] == before[:2]
        assert gc.get_threshold()[2] > 1_000_000
        now += EVERY - 1
        one.look(asked_at=0.0)
        assert not collections
        now += 1
        one.look(asked_at=now - QUIET / 2)
        assert not collections
        one.look(asked_at=now - QUIET)
        assert len(collections) == 1
        now += EVERY
        one.look(asked_at=now)
        assert len(collections) == 1
        now += AT_LATEST - EVERY
        one.look(asked_at=now)
        assert len(collections) == 2
    finally:
        one.end()
    assert gc.get_threshold() == before
