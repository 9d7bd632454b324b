"""The writer writes what tomllib reads back, whatever the table."""

from __future__ import annotations

import datetime
import math
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.spec.toml_writer import dumps

text = st.text(st.characters(codec="utf-8"), max_size=12)
scalars = (
    text
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.dates()
    | st.times()
    | st.datetimes(timezones=st.none() | st.just(datetime.UTC))
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4), max_leaves=12
)
tables = st.dictionaries(text, values, max_size=5)


@given(tables)
def test_round_trip(table: dict[str, Any]) -> None:
    assert tomllib.loads(dumps(table)) == table


def test_a_run_reads_well() -> None:
    table = {
        "name": "chaos",
        "seed": 7,
        "topology": {"layout": "star", "validators": 4},
        "workloads": [{"use": "transactions", "rate": "10/block"}, {"use": "da", "options": {"a b": 1}}],
    }
    assert dumps(table) == (
        'name = "chaos"\nseed = 7\n[[workloads]]\nuse = "transactions"\nrate = "10/block"\n\n'
        '[[workloads]]\nuse = "da"\n\n[workloads.options]\n"a b" = 1\n\n[topology]\nlayout = "star"\nvalidators = 4\n'
    )


def test_a_run_with_an_empty_table_in_it_reads_well_too() -> None:
    table = {"name": "x", "workloads": [{"use": "chaos.partition", "grudge": {}}, {"use": "da"}], "chain": {"use": "y"}}
    text = dumps(table)
    assert tomllib.loads(text) == table
    assert [line for line in text.splitlines() if line] == [
        'name = "x"',
        "[[workloads]]",
        'use = "chaos.partition"',
        "grudge = {}",
        "[[workloads]]",
        'use = "da"',
        "[chain]",
        'use = "y"',
    ]


def test_nan_is_nan() -> None:
    assert math.isnan(tomllib.loads(dumps({"x": math.nan}))["x"])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"a": {"b": None}}, "a.b: TOML has no form for NoneType: None"),
        ({"a": [1, {2}]}, "a[1]: TOML has no form for set: {2}"),
        ({"a": {1: 2}}, "a: TOML's keys are text, not 1"),
        ({"a": "\ud800"}, "a: TOML cannot hold text with lone surrogates: '\\ud800'"),
    ],
)
def test_what_toml_cannot_hold(table: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError) as error:
        dumps(table)
    assert str(error.value) == message
