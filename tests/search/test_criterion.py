"""Criteria: what they mean, and what is told where they mean nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.search.criterion import CriterionError, Measures, parse_criterion

MEASURES: Measures = {
    "transaction-inclusion.p99": [4.2],
    "inclusion": [0.995, 0.98],
    "transactions.inclusion": [0.995],
    "achieved": [48.0],
    "p99": [None],
    "nodes-healthy.verdict": ["pass"],
    "verdict": ["fail"],
    "no-forks.verdict": ["unknown"],
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("transaction-inclusion.p99 < 5s", True),
        ("transaction-inclusion.p99 < 4200ms", False),
        ("transaction-inclusion.p99 <= 4200ms", True),
        ("transaction-inclusion.p99 < 2 blocks", False),  # of two seconds each
        ("transaction-inclusion.p99 < 3 blocks", True),
        ("transactions.inclusion > 99%", True),
        ("inclusion > 0.99", False),  # of every workload
        ("not inclusion > 0.99", True),
        ("achieved >= 48/s and nodes-healthy.verdict == pass", True),
        ("verdict != fail or achieved > 50", False),
        ("verdict == fail and (achieved > 50 or achieved < 49)", True),
        ("achieved > 40 or achieved > 50 and achieved > 60", True),  # and binds closer
        ("p99 < 5s", None),
        ("no-forks.verdict == pass", None),
        ("no-forks.verdict != fail", None),
        ("no-forks.verdict == unknown", True),
        ("verdict == unknown", False),
        ("not p99 < 5s", None),
        ("p99 < 5s and achieved > 50", False),
        ("p99 < 5s or achieved > 40", True),
        ("p99 < 5s and achieved > 40", None),
    ],
)
def test_what_criteria_mean(text: str, holds: bool | None) -> None:
    assert parse_criterion(text).holds(MEASURES, block_interval=2.0) is holds


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("", 1, "a name is expected here, not the end"),
        ("inclusion 0.99", 11, "one of < <= > >= == != is expected after inclusion"),
        ("inclusion >", 12, "a value is expected after >"),
        ("inclusion > 0.99 p99 < 5s", 18, '"p99" is not expected here'),
        ("(inclusion > 0.99", 18, '")" is missing'),
        ("inclusion > 0.99 and", 21, "a name is expected here"),
        ("inclusion > 5s", 13, "inclusion is no time, and 5s is one"),
        ("p99 < 5", 7, "write 5s for seconds"),
        ("p99 < 5parsecs", 7, "is not a duration"),
        ("achieved > 5/block", 12, "measured is per second"),
        ("verdict > pass", 11, "compared with == or !="),
        ("verdict == good", 12, '"good" is no value'),
        ("inclusion = 1", 11, '"=" means nothing here'),
        ("inclusion > 99% & p99 < 1s", 17, '"&" means nothing here'),
    ],
)
def test_mistakes_are_told_with_their_place(text: str, column: int, message: str) -> None:
    with pytest.raises(CriterionError, match="column") as raised:
        parse_criterion(text)
    assert raised.value.column == column
    assert message in str(raised.value)
    lines = str(raised.value).split("\n")
    assert lines[1] == text and lines[2] == " " * (column - 1) + "^"


def test_a_name_that_nothing_measures_is_guessed() -> None:
    criterion = parse_criterion("achieved > 1 and transaction-inclusio.p99 < 5s")
    with pytest.raises(CriterionError, match='did you mean "transaction-inclusion.p99"') as raised:
        criterion.check(MEASURES)
    assert raised.value.column == 18


def test_of_many_names_the_near_ones_are_listed() -> None:
    known = {f"load.{n}.{m}" for n in range(30) for m in range(10)} | {"load.p50", "load.p99", "p50", "p99"}
    with pytest.raises(CriterionError) as raised:
        parse_criterion("load.good > 1").check(known)
    message = str(raised.value)
    assert "there are: load.p50, load.p99, load.0.0, " in message
    assert ", …" in message and len(message) < 700
    assert " p50" not in message


@given(st.text("()<>=!andortp9 .%5s/&#é\n", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_criterion(text)
    except CriterionError as error:
        assert 1 <= error.column <= len(text) + 1


def test_nesting_is_bounded() -> None:
    with pytest.raises(CriterionError, match="levels deep"):
        parse_criterion("(" * 5000 + "p99 < 1s" + ")" * 5000)
