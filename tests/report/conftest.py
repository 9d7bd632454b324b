"""Runs to report: made up with everything in them, long ones, and a browser to look at their pages with."""

from __future__ import annotations

import importlib.util
import os
import random
import sqlite3
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from fleet.errors import FleetUnavailable
from fleet.packages import ensure
from harness.observe.samples import SCHEMA
from harness.record.codec import encode
from harness.record.events import (
    BlockObserved,
    Event,
    ExpectationJudged,
    FaultStaged,
    NodeChanged,
    Note,
    PhaseEnded,
    PhaseStarted,
    Recorded,
    RunFinished,
    RunStarted,
    ViolationSeen,
    WorkloadProgress,
)
from harness.record.rundir import RunDirectory

_spec = importlib.util.spec_from_file_location("report_browser", Path(__file__).with_name("browser.py"))
assert _spec is not None and _spec.loader is not None
_browser = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_browser)

BEGAN = 1_769_860_800.0  # 2026-01-31T12:00:00Z
Events = list[tuple[float, Event]]


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Headless Chromium (see browser.py)."""
    try:
        if _browser.find_chromium() is None:
            ensure({"chromium": "chromium"})
    except FleetUnavailable as missing:
        if os.environ.get("CI"):  # a test never passes by skipping
            raise
        pytest.skip(str(missing))
    with _browser.browser(_browser.find_chromium(), tmp_path_factory.mktemp("chromium")) as running:
        yield running


def _started(text: Callable[[str], str], **more: Any) -> RunStarted:
    nodes = {
        text(f"validator-{n}"): {"role": text("validator"), "machine": text("here"), "links": [text("validator-0")]}
        for n in range(4)
    }
    return RunStarted(
        text("2026-01-31T12-00-00-chaos-7f3a"), text("chaos"), 7, "0.1.0", text("devnet"), text("process"), 60.0, 1.0,
        10, text("chaos.toml"), nodes, (text("transactions"),), (text("liveness"), text("forks"), text("timing")),
        {text("rate"): text("10")}, ("harness", "run", text("chaos.toml")), **more,
    )  # fmt: skip


def make_run(text: Callable[[str], str] = str, *, rate: int = 10, pace: float = 1.0, **more: Any) -> Events:
    """A minute of four nodes, one of which is restarted, one of which ends unasked. `text` makes every text in it,
    `rate` are transactions a second, `pace` seconds from block to block; `more` goes into RunStarted."""
    rng = random.Random(f"{rate} {pace}")
    started = _started(text, **more)
    names = list(started.nodes)
    events: Events = [(0.0, started), (0.1, PhaseStarted("deploy")), (1.0, PhaseEnded("deploy", True, 0.9))]
    events += [(1.0, NodeChanged(name, "running", 4000, "start")) for name in names]
    events.append((2.0, PhaseStarted("drive", 60.0)))
    at, height, stamp = 2.0, 0, BEGAN
    while at < 62:
        at, height = at + rng.expovariate(1 / pace), height + 1
        stamp = BEGAN + at
        for index, name in enumerate(names):
            if not (index == 1 and 20 <= at < 30):
                hash = text(f"{height:08x}")
                events.append((at + 0.01 * index, BlockObserved(name, height, hash, "", stamp, text("proposer"))))
    for second in range(1, 62):
        sent = rate * second
        figures = {"offered": sent, "accepted": sent - 2, "rejected": 2, "included": max(0, sent - 2 * rate)}
        events.append((2.0 + second, WorkloadProgress(text("transactions"), figures, second == 61)))
    fault = ("f1", text("restart"), (names[1],))
    events += [
        (19.9, FaultStaged(*fault, "intended", text("chaos"), options={text("signal"): text("KILL")})),
        (20.0, FaultStaged(*fault, "injected", text("chaos"))),
        (20.2, FaultStaged(*fault, "proven", text("chaos"), {names[1]: {text("process"): text("gone")}})),
        (29.0, FaultStaged(*fault, "healing", text("chaos"))),
        (29.5, FaultStaged(*fault, "healed", text("chaos"), {"process": text("running")})),
        (40.0, FaultStaged("f2", text("stop"), (names[2],), "injected")),
        (41.0, FaultStaged("f2", text("stop"), (names[2],), "not-applied", error=text("still there"))),
        (45.0, NodeChanged(names[3], "exited", None, text("exit code 101: panic"), False)),
        (46.0, ViolationSeen(text("forks"), text("two blocks at height 12"), {text("height"): 12})),
        (47.0, Note(text("transactions"), "warning", text("the generator was late"))),
    ]
    events.sort(key=lambda pair: pair[0])
    evidence = {"nodes": {name: {"made": 40, "wrong": [text("stood still for 9s")]} for name in names}, "wrong": []}
    return [
        *events,
        (63.2, PhaseEnded("drive", True, 61.2)),
        (63.3, ExpectationJudged(text("liveness"), "pass", text("58 blocks"), text("at least 30"), {"blocks": 58},
                                 text("chaos.toml:31:3"))),
        (63.3, ExpectationJudged(text("forks"), "fail", text("two blocks at height 12"), text("none"), evidence,
                                 text("chaos.toml:35:3"))),
        (63.4, ExpectationJudged(text("timing"), "unknown", text("too few"), text("1s"), {text("a"): [text("b")]})),
        (64.0, RunFinished("fail", 1, "done", text("forks: two blocks at height 12"), 64.0)),
    ]  # fmt: skip


@pytest.fixture
def events() -> Callable[..., Events]:
    """See make_run."""
    return make_run


@pytest.fixture
def record() -> Callable[[Events], list[Recorded]]:
    """Envelopes around events."""
    return lambda events: [Recorded(n, BEGAN + t, t, event) for n, (t, event) in enumerate(events, 1)]


@pytest.fixture
def write_run(tmp_path: Path, record: Callable[[Events], list[Recorded]]) -> Callable[..., RunDirectory]:
    """Write a run's directory: its journal, and the latencies of transactions of which so many were sent a second."""

    def write(name: str, events: Events, *, rate: int = 10, slower: float = 1.0, seed: int = 1) -> RunDirectory:
        run = RunDirectory(tmp_path / "runs" / f"2026-01-31T12-00-00-{name}")
        run.path.mkdir(parents=True)
        run.journal.write_bytes(b"".join(map(encode, record(events))))
        run.run_toml.write_text('# harness: "0.1.0"\nname = "chaos"\n\n[vars]\nrate = 10\n', encoding="utf-8")
        if rate:
            write_samples(run.samples, rate, slower, seed)
        return run

    return write


def write_samples(path: Path, rate: int, slower: float = 1.0, seed: int = 1) -> None:
    """A minute of latencies around 0.6 s × slower, those of each second alike, as blocks make them."""
    rng = random.Random(seed)
    rows = []
    for second in range(60):
        common = rng.uniform(0.3, 0.9) * slower
        for index in range(rate):
            sent = BEGAN + 2 + second + index / rate
            rows.append((second * rate + index, sent, sent + common + rng.uniform(0, 0.1)))
    with sqlite3.connect(path) as db:
        db.executescript(SCHEMA)
        db.executemany(
            "INSERT INTO submissions VALUES ('transactions', ?, 'x', 'accepted', ?, ?, ?, 1, 'v', 0)",
            [(number, sent, sent + 0.01, included) for number, sent, included in rows],
        )
    db.close()


_VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """What stands in a page: `tags` with their attributes, `text` as it is read, `unclosed` tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.unclosed: list[str] = []
        self.wrong: list[str] = []
        self._texts: list[str] = []
        self.feed(html)
        self.close()

    @property
    def text(self) -> str:
        return " ".join(" ".join(self._texts).split())

    def named(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.unclosed.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if self.unclosed and self.unclosed[-1] == tag:
            self.unclosed.pop()
        else:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        if not self.unclosed or self.unclosed[-1] != "style":
            self._texts.append(data)


@pytest.fixture
def parse() -> Callable[[str], Page]:
    return Page
