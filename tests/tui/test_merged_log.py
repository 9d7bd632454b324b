"""The logs of all nodes and the run as one, and what lines say of their time and gravity."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.record.events import NodeChanged, Note, Recorded
from harness.record.reduce import reduce
from harness.record.state import RunState
from harness.tui.file_lines import LONGEST, FileLines
from harness.tui.log_panel import corrections
from harness.tui.merged_log import RUN, Filtered, MergedLog
from harness.tui.stamps import Level, level_of, time_of

BEGAN = 1_700_000_000.0  # 2023-11-14T22:13:20Z


def stamp(t: float) -> str:
    minutes, seconds = divmod(t + 20, 60)
    return f"2023-11-14T22:{13 + int(minutes):02}:{seconds:06.3f}Z"


@pytest.fixture
def log() -> MergedLog:
    merged = MergedLog()
    state = RunState()
    for seq, t in enumerate((0.5, 7.0), 1):
        recorded = Recorded(seq, BEGAN + t, t, Note("engine", "warning", f"of the run at {t}"))
        state = RunState(began=BEGAN) if seq == 1 else state
        state = reduce(state, recorded)
        merged.add(recorded, state)
    return merged


def all_of(log: MergedLog) -> list[tuple[float, str, str]]:
    while log.grow(1.0):
        pass
    return [
        (round(log.time(i), 3), log.source(i), log.text(i).partition("Z ")[2] or log.text(i)) for i in range(len(log))
    ]


def test_lines_are_in_order_of_time_whoever_wrote_them(log: MergedLog, tmp_path: Path) -> None:
    (tmp_path / "a").write_text(f"{stamp(1)} INFO one\n{stamp(3)} INFO three\n  and more of it\n{stamp(9)} INFO nine\n")
    (tmp_path / "b").write_text(f"{stamp(2)} ERROR two\n{stamp(8)} INFO eight")
    log.follow({"a": tmp_path / "a", "b": tmp_path / "b", "c": tmp_path / "not there yet"})
    assert [(t, source) for t, source, _ in all_of(log)] == [
        (0.5, RUN), (1, "a"), (2, "b"), (3, "a"), (3, "a"), (7, RUN), (8, "b"), (9, "a")
    ]  # fmt: skip
    (tmp_path / "not there yet").write_text(f"{stamp(4)} WARN late news\n")
    assert (4, "c", "WARN late news") not in all_of(log)  # it is not looked for all the time
    log.add(Recorded(3, BEGAN + 9, 9.0, NodeChanged("c", "starting")), RunState(began=BEGAN))
    assert (4, "c", "WARN late news") in all_of(log)
    assert [t for t, _, _ in all_of(log)] == sorted(t for t, _, _ in all_of(log))


CALLS = [(1.0, "a", "ping"), (1.5, "b", "got ping"), (2.0, "b", "pong"), (2.5, "a", "got pong"), (4.0, "a", "end")]


@pytest.mark.parametrize("known", ["before", "after"])
def test_clocks_that_are_off_are_set_right_whenever_that_is_known(log: MergedLog, tmp_path: Path, known: str) -> None:
    ahead = {"a": 5.0, "b": -20.0}
    for name, seconds in ahead.items():
        mine = [f"{stamp(t + seconds)} INFO {text}\n" for t, source, text in CALLS if source == name]
        (tmp_path / name).write_text("".join(mine))
    log.follow({name: tmp_path / name for name in ahead})
    if known == "before":
        log.correct(ahead)
    words = Filtered(log, sources=frozenset(ahead))
    assert ([text.removeprefix("INFO ") for _, _, text in all_of(log)[1:-1]] == [c[2] for c in CALLS]) is (
        known == "before"
    )
    words.grow(1.0)
    log.correct(ahead)
    assert [one for one in all_of(log) if one[1] != RUN] == [(t, name, f"INFO {text}") for t, name, text in CALLS]
    assert log.corrected == ahead and log.rearranged == (known == "after")
    words.grow(1.0)
    assert [log.source(words.index(i)) for i in range(len(words))] == [name for _, name, _ in CALLS]
    with (tmp_path / "b").open("a") as file:
        file.write(f"{stamp(5 - 20)} INFO and on\n")
    assert (5, "b", "INFO and on") in all_of(log)
    log.correct({"a": 5.001, "b": -20.001})
    assert log.rearranged == (known == "after")  # nothing is moved for next to nothing


def test_lines_that_tell_no_time_stay_behind_those_before_them(log: MergedLog, tmp_path: Path) -> None:
    (tmp_path / "a").write_text(
        f"banner\n  of two lines\n{stamp(13)} INFO one\n  two\n  three\n{stamp(16)} INFO four\n"
    )
    (tmp_path / "b").write_text(f"{stamp(3)} INFO amid\n")
    log.follow({"a": tmp_path / "a", "b": tmp_path / "b"})
    log.add(Recorded(3, BEGAN + 2, 2.0, NodeChanged("a", "starting")), RunState(began=BEGAN))
    all_of(log)
    log.correct({"a": 10.0})
    assert [(t, text) for t, source, text in all_of(log) if source == "a"] == [
        (2, "banner"), (2, "  of two lines"), (3, "INFO one"), (3, "  two"), (3, "  three"), (6, "INFO four")
    ]  # fmt: skip


def test_what_is_corrected_is_said() -> None:
    assert corrections({}) == ""
    assert corrections({"a": 2.5, "b": -0.0314159}) == "~ clock corrected: a -2.5s, b +0.0314s"
    assert corrections({"a": 2.5, "b": -3.0, "c": 1.0}) == "3 clocks corrected, by up to 3s"


def test_filters_by_node_gravity_and_words_also_of_what_comes_later(log: MergedLog, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("".join(f"{stamp(i / 10)} {'ERROR' if i % 10 == 0 else 'INFO'} line {i}\n" for i in range(50)))
    log.follow({"a": path})
    all_of(log)
    errors = Filtered(log, level=Level.ERROR)
    words = Filtered(log, sources=frozenset({"a"}), pattern=re.compile(r"line \d*7$"))
    for one in (errors, words):
        while one.grow(1.0):
            pass
    assert [log.text(errors.index(i))[-7:] for i in range(len(errors))] == [
        f"{'line ' + str(i):>7}" for i in range(0, 50, 10)
    ]
    assert len(words) == 5 and words.until(2.0) == 2
    with path.open("a") as file:
        file.write(f"{stamp(8)} ERROR line 57\n{stamp(0.05)} ERROR out of order, line 67\n")
    all_of(log)
    for one in (errors, words):
        while one.grow(1.0):
            pass
    assert len(errors) == 7 and len(words) == 7
    assert Filtered(log).is_all and len(Filtered(log)) == len(log)


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        (b"2023-11-14T22:13:20Z INFO x", 0.0),
        (b"2023-11-14 22:13:20,250 x", 0.25),
        (b"I[2023-11-14|22:13:20.500] Committed state", 0.5),
        (b"2023-11-15T00:13:21+02:00 x", 1.0),
        (b"time=2023-11-14T20:13:21.000000001-0200 level=info", 1.000000001),
        (b"1700000002 x", 2.0),
        (b"1700000002.5 x", 2.5),
        (b'{"ts":1700000003123,"msg":"x"}', 3.123),
        (b"2023-13-45T99:99:99Z x", None),
        (b"block 17 of 2023", None),
        (b"", None),
    ],
)
def test_times_of_lines(line: bytes, seconds: float | None) -> None:
    told = time_of(line)
    assert told is None if seconds is None else told == pytest.approx(BEGAN + seconds, abs=1e-6)


@pytest.mark.parametrize(
    ("line", "level"),
    [
        (b"2023-11-14T22:13:20Z ERROR core: lost", Level.ERROR),
        (b"E[2023-11-14|22:13:20.500] failed", Level.ERROR),
        (b"thread main panicked at", Level.ERROR),
        (b"level=warn msg=x", Level.WARNING),
        (b"I[2023-11-14|22:13:20.500] no error in it", Level.INFO),
        (b"TRACE x", Level.DEBUG),
        (b"information about terrors", Level.UNKNOWN),
    ],
)
def test_levels_of_lines(line: bytes, level: Level) -> None:
    assert level_of(line) is level


@given(st.binary(max_size=400))
def test_no_line_breaks_it(line: bytes) -> None:
    time_of(line)
    level_of(line)


@given(st.lists(st.binary(max_size=50).filter(lambda line: b"\n" not in line), max_size=30), st.booleans())
def test_lines_of_files_are_told_as_they_are(lines: list[bytes], ended: bool) -> None:
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        content = b"\n".join(lines) + (b"\n" if ended and lines else b"")
        file.write(content)
        file.flush()
        read = FileLines(Path(file.name))
        while read.grow(1.0):
            pass
        wanted = content.split(b"\n")
        wanted = wanted[:-1] if not wanted[-1] else wanted
        assert [read.raw(i) for i in range(len(read))] == [line.rstrip(b"\r") for line in wanted]
        read.close()


def test_a_line_without_end_is_shown_in_part_and_is_harmless(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"x" * 5_000_000 + b"\n\x1b[31m[bold]red[/bold]\x1b]0;title\x07\n")
    lines = FileLines(tmp_path / "log")
    while lines.grow(1.0):
        pass
    assert len(lines) == 2 and len(lines.raw(0)) == LONGEST
    shown = lines.line(1, 200)
    assert shown.plain == r"\x1b[31m[bold]red[/bold]\x1b]0;title\x07" and not shown.spans
    lines.close()


def test_lines_up_to_a_moment(tmp_path: Path) -> None:
    """By going through them one by one, for whichever of them tell a time."""
    for pattern in ("dddddd", "-dd--d-d--", "----", "d-----", "------d"):
        text, told, wanted = [], None, []
        for index, kind in enumerate(pattern * 3):
            told = float(index) if kind == "d" else told
            wanted.append(told)
            text.append(f"{stamp(index)} INFO x\n" if kind == "d" else "  more\n")
        (tmp_path / "log").write_text("".join(text))
        lines = FileLines(tmp_path / "log")
        lines.grow(1.0)
        for t in (-1.0, 0.0, 2.5, 7.0, 99.0):
            assert lines.until(BEGAN + t) == sum(one is None or one <= t for one in wanted), (pattern, t)
        lines.close()
