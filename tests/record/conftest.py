"""Records to test with: a run with everything in it, and a clock that stands where it is put."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import strategies as st

from harness.record.events import (
    BlockObserved,
    Event,
    ExpectationJudged,
    FaultStaged,
    FeedChanged,
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

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
_NAMES = st.sampled_from(["validator-0", "validator-1", "", "\x1b[2J", "[bold]", "\ud800"])


def _field(name: str, annotation: object) -> st.SearchStrategy[object]:
    """Values for one field of an event; names come from a small set, so that events meet each other."""
    if name in ("node", "id", "expectation", "workload", "phase"):
        return _NAMES
    if name == "stage":
        stages = ["intended", "injected", "proven", "not-applied", "healing", "healed", "not-healed"]
        return st.sampled_from(stages) | st.text()
    return {
        "str": st.text(st.characters(), max_size=20),
        "int": st.integers(),
        "float": st.floats(),
        "bool": st.booleans(),
        "float | None": st.none() | st.floats(),
        "int | None": st.none() | st.integers(),
        "tuple[str, ...]": st.lists(_NAMES, max_size=3).map(tuple),
        "Mapping[str, float]": st.dictionaries(st.text(max_size=8), st.floats(), max_size=3),
        "Mapping[str, str]": st.dictionaries(_NAMES, st.text(max_size=8), max_size=3),
        "Mapping[str, Any]": st.dictionaries(st.text(max_size=8), _JSON, max_size=3),
        "tuple[Mapping[str, Any], ...]": st.lists(st.dictionaries(_NAMES, _JSON, max_size=3), max_size=2).map(tuple),
        "Mapping[str, Mapping[str, Any]]": st.dictionaries(_NAMES, st.dictionaries(st.text(max_size=8), _JSON)),
    }[str(annotation)]


def _events() -> st.SearchStrategy[Event]:
    return st.one_of(
        *(
            st.builds(cls, **{name: _field(name, annotation) for name, annotation in cls.__annotations__.items()})
            for cls in Event.__subclasses__()
        )
    )


@pytest.fixture(scope="session")
def events() -> st.SearchStrategy[Event]:
    """Any event of any class, with any values that its fields may have."""
    return _events()


BEGAN = 1_769_860_800.0  # 2026-01-31T12:00:00Z


class StillClock:
    """A clock that moves only when told to."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return 1000.0 + self.time

    def wall(self) -> float:
        return BEGAN + self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds

    async def sleep_until(self, moment: float) -> None:
        self.time = max(self.time, moment - 1000.0)


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


def _chaotic_run() -> list[tuple[float, Event]]:
    nodes = {
        name: {"role": name.rpartition("-")[0], "machine": "local", "links": []}
        for name in ("validator-0", "validator-1", "validator-2", "executor-0")
    }
    events: list[tuple[float, Event]] = [
        (
            0.0,
            RunStarted(
                "2026-01-31T12-00-00-aggressive-chaos-7f3a", "aggressive chaos", 7, "0.1.0", "devnet", "process",
                180.0, 1.0, 6, "/srv/net/playbooks/aggressive chaos.toml", nodes, ("transactions", "chaos.restart"),
                ("consensus-liveness", "transaction-inclusion", "no-forks", "da-availability"),
                {"rate": 10, "label": "7"},
            ),
        ),
        (0.1, PhaseStarted("deploy")),
        *((0.5, NodeChanged(name, "running", 4000 + i, "start")) for i, name in enumerate(nodes)),
        (1.2, PhaseEnded("deploy", True, 1.1)),
        (1.2, PhaseStarted("ready", 60.0)),
        *((1.5, FeedChanged(name, True)) for name in nodes),
        (2.0, PhaseEnded("ready", True, 0.8)),
        (2.1, PhaseStarted("drive", 180.0)),
    ]  # fmt: skip
    for height in range(1, 21):
        for name in nodes:
            seen = 2.0 + height
            if name != "validator-2" or not 8 <= height <= 11:
                block = BlockObserved(name, height, f"{height:064x}", f"{height - 1:064x}", BEGAN + seen, "validator-0")
                events.append((seen + 0.01, block))
        figures = {"offered": height * 600, "accepted": height * 598, "included": height * 590, "p99_s": 1.23456}
        events.append((2.5 + height, WorkloadProgress("transactions", figures, height == 20)))
    restart = ("f1", "restart", ("validator-2",))
    events += [
        (9.9, FaultStaged(*restart, "intended", "chaos.restart")),
        (10.0, FaultStaged(*restart, "injected", "chaos.restart")),
        (10.0, NodeChanged("validator-2", "stopped", None, "fault f1")),
        (10.1, FaultStaged(*restart, "proven", "chaos.restart", {"process": "gone"})),
        (10.2, FeedChanged("validator-2", False, "Connection \x1b[31mrefused[/red]")),
        (14.0, FaultStaged(*restart, "healing", "chaos.restart")),
        (14.4, NodeChanged("validator-2", "running", 4010, "fault f1")),
        (14.5, FeedChanged("validator-2", True)),
        (14.8, FaultStaged(*restart, "healed", "chaos.restart", {"caught_up": 13})),
        (17.0, FaultStaged("f2", "restart", ("validator-1",), "injected", "chaos.restart")),
        (17.3, FaultStaged("f2", "restart", ("validator-1",), "not-applied", error="process 4001 is still there")),
        (18.0, NodeChanged("executor-0", "exited", None, "exit code 101: panic at 'boom\n[bold]x[/bold]'", False)),
        (19.0, Note("transactions", "warning", "the generator was late: p99 80 ms")),
        (19.1, Note("transactions", "warning", "the generator was late: p99 80 ms")),
        (19.2, Note("feed", "info", "not shown")),
        (20.0, ViolationSeen("no-forks", "two final blocks at height 12", {"height": 12, "nodes": ["validator-0"]})),
        (20.5, ViolationSeen("no-forks", "two final blocks at height 13", {"height": 13})),
    ]
    events.sort(key=lambda pair: pair[0])
    place = "playbooks/aggressive chaos.toml"
    return [
        *events,
        (182.1, PhaseEnded("drive", True, 180.0)),
        (182.2, PhaseStarted("evaluate")),
        (182.3, ExpectationJudged("consensus-liveness", "pass", "0.98 blocks/s, lag 1", "at least 0.5 blocks/s, lag 5",
                                  {"blocks": 178}, f"{place}:31:1")),
        (182.3, ExpectationJudged("transaction-inclusion", "fail", "included 81.2 % (486 of 598 accepted)",
                                  "at least 95 % of the accepted", {"lost": ["tx9", "tx12"], "late": 110, "p99": 9.5},
                                  f"{place}:35:1")),
        (182.3, ExpectationJudged("no-forks", "fail", "2 heights with two final blocks", "none",
                                  {"heights": [12, 13]})),
        (182.4, ExpectationJudged("da-availability", "unknown", "no blob was dispersed", "at least 95 % read back",
                                  {}, f"{place}:39:1")),
        (182.4, PhaseEnded("evaluate", True, 0.2)),
        (182.5, PhaseStarted("teardown")),
        (183.0, PhaseEnded("teardown", True, 0.5)),
        (183.0, RunFinished("fail", 1, "done", "transaction-inclusion: included 81.2 % (486 of 598 accepted)", 183.0)),
    ]  # fmt: skip


@pytest.fixture
def timeline() -> list[tuple[float, Event]]:
    """A run in which everything happens: (seconds since its begin, event)."""
    return _chaotic_run()


@pytest.fixture
def record() -> Callable[..., list[Recorded]]:
    """Envelopes around events: of a timeline, or one event a second."""

    def wrap(events: list[tuple[float, Event]] | list[Event]) -> list[Recorded]:
        pairs = [e if isinstance(e, tuple) else (float(i), e) for i, e in enumerate(events)]
        return [Recorded(i, BEGAN + t, t, event) for i, (t, event) in enumerate(pairs, 1)]

    return wrap
