"""Events and their lines."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from decimal import Decimal
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.record import events as event_module
from harness.record.codec import DecodeError, decode, encode, jsonable, kind_of
from harness.record.events import BlockObserved, Event, FaultStaged, Note, PhaseStarted, Recorded, WorkloadProgress

ANY_EVENT = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)


def roundtrip(event: Event) -> Recorded | None:
    return decode(encode(Recorded(1, 2.5, 0.5, event)))


@ANY_EVENT
@given(data=st.data())
def test_every_event_comes_back_as_it_was(events: st.SearchStrategy[Event], data: st.DataObject) -> None:
    event = data.draw(events)
    line = encode(Recorded(3, 1.5, 0.25, event))
    assert line.isascii() and line.count(b"\n") == 1 and line.endswith(b"\n")
    back = decode(line)
    assert back is not None and repr(back.event) == repr(event)  # by repr: NaN is not equal to itself
    assert encode(back) == line


def test_every_class_of_events_has_a_kind() -> None:
    classes = [
        cls
        for cls in vars(event_module).values()
        if isinstance(cls, type) and issubclass(cls, Event) and cls is not Event
    ]
    kinds = {kind_of(cls.__new__(cls)) for cls in classes}
    assert len(kinds) == len(classes) >= 12
    assert {"run-started", "block-observed", "fault-staged", "note"} <= kinds


def test_the_line_has_the_envelope_and_the_fields() -> None:
    line = json.loads(encode(Recorded(12, 99.5, 1.5, PhaseStarted("drive", 60.0))))
    assert line == {"seq": 12, "at": 99.5, "t": 1.5, "kind": "phase-started", "phase": "drive", "budget": 60.0}


def test_unknown_kinds_and_fields_are_ignored() -> None:
    assert decode(b'{"seq":1,"at":0,"t":0,"kind":"moon-landed","who":"me"}') is None
    newer = decode(b'{"seq":1,"at":0,"t":0,"kind":"phase-started","phase":"drive","planet":"earth"}')
    assert newer == Recorded(1, 0.0, 0.0, PhaseStarted("drive"))


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\x00\x00",
        b"[]",
        b"7",
        b"\xff\xfe{}",
        b'{"seq":1,"at":0,"t":0}',
        b'{"seq":1,"at":0,"t":0,"kind":["note"]}',
        b'{"seq":"1","at":0,"t":0,"kind":"phase-started","phase":"drive"}',
        b'{"seq":1,"at":0,"t":0,"kind":"phase-started"}',
        b'{"seq":1,"at":0,"t":0,"kind":"phase-started","phase":5}',
        b'{"seq":1,"at":0,"t":0,"kind":"phase-started","phase":"x","budget":"soon"}',
        b'{"seq":1,"at":0,"t":1' + b"0" * 400 + b',"kind":"phase-started","phase":"x"}',
        b'{"seq":1,"at":0,"t":0,"kind":"phase-ended","phase":"x","ok":1,"seconds":0}',
        b'{"seq":1,"at":0,"t":0,"kind":"fault-staged","id":"1","fault":"x","targets":"all","stage":"healed"}',
        b'{"seq":1,"at":0,"t":0,"kind":"workload-progress","workload":"x","figures":[]}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_event_is_refused(line: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(line)


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass(frozen=True)
class Point:
    x: float
    where: Path


class Odd:
    def __repr__(self) -> str:
        raise RuntimeError("even this does not stop the journal")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (b"\x00\xff", "00ff"),
        (PurePosixPath("/a/b"), "/a/b"),
        (Colour.RED, "red"),
        ((1, (2,)), [1, [2]]),
        ({3, 1, 2}, [1, 2, 3]),
        ({Colour.RED: 1, 5: 2, None: 3, (1, 2): 4, b"\x01": 5}, {"red": 1, "5": 2, "null": 3, "(1, 2)": 4, "01": 5}),
        (MappingProxyType({"a": {1}}), {"a": [1]}),
        (Point(math.nan, Path("p")), {"x": "NaN", "where": "p"}),
        (Decimal("1.5"), "Decimal('1.5')"),
        pytest.param(1 << 20_000, hex(1 << 20_000), id="huge"),
    ],
)
def test_whatever_is_in_evidence_can_be_written(value: Any, written: Any) -> None:
    back = roundtrip(FaultStaged("1", "x", (), "proven", seen={"value": value, "deep": [{"value": value}]}))
    assert back is not None
    assert back.event.seen == {"value": written, "deep": [{"value": written}]}  # type: ignore[attr-defined]


def test_cycles_depths_and_broken_objects_can_be_written() -> None:
    cycle: dict[str, Any] = {}
    cycle["me"] = cycle
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    for value in (cycle, deep, Odd(), {"k": Odd()}):
        assert roundtrip(Note("x", "info", "y", {"value": value})) is not None


def test_a_time_that_is_no_number_stays_one() -> None:
    back = roundtrip(BlockObserved("v", 1, "a", "b", math.inf))
    assert back is not None and back.event == BlockObserved("v", 1, "a", "b", math.inf)


@given(st.floats())
def test_figures_are_always_json(value: float) -> None:
    text = encode(Recorded(1, 0.0, 0.0, WorkloadProgress("w", {"f": value}))).decode()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert isinstance(jsonable(value), float | str)
