"""Host ranges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.spec.ranges import expand


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("node", "node"),
        ("node[1:3]", "node1 node2 node3"),
        ("node[01:03].x", "node01.x node02.x node03.x"),
        ("n[:2]", "n0 n1 n2"),
        ("n[1:10:4]", "n1 n5 n9"),
        ("r[a:c]", "ra rb rc"),
        ("r[y:B]", "ry rz rA rB"),
        ("r[a:b]n[8:10]", "ran8 ran9 ran10 rbn8 rbn9 rbn10"),
        ("n[0:0]", "n0"),
    ],
)
def test_expand(pattern: str, names: str) -> None:
    assert expand(pattern) == tuple(names.split())


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("n[01]", "[01] is no range; one is written [01:04], or [01:10:2] with a stride"),
        ("n[1:2:3:4]", "[1:2:3:4] is no range; one is written [01:04], or [01:10:2] with a stride"),
        ("n[01:4]", "[01:4]: 01 and 4 are not of the same width"),
        ("n[4:1]", "[4:1] is empty: 4 comes after 1"),
        ("n[a:3]", "[a:3] must run from a number to a number or from a letter to a letter"),
        ("n[aa:bb]", "[aa:bb] must run from a number to a number or from a letter to a letter"),
        ("n[1:]", "[1:] must run from a number to a number or from a letter to a letter"),
        ("n[²:3]", "[²:3] must run from a number to a number or from a letter to a letter"),
        ("n[1:9:0]", "[1:9:0]: the stride must be a whole number of at least 1"),
        ("n[1:9", "a bracket stands alone; a range is written node[01:04]"),
        ("n[1:999999999]", "[1:999999999] stands for 999999999 names; at most 100000"),
        ("n[1:999][1:999]", "stands for 998001 names; at most 100000"),
    ],
)
def test_wrong_ranges(pattern: str, message: str) -> None:
    with pytest.raises(ValueError) as error:
        expand(pattern)
    assert str(error.value) == message


@given(st.integers(0, 2000), st.integers(0, 60), st.integers(1, 7), st.booleans())
def test_numbers_run_from_first_to_last_by_the_stride(first: int, more: int, stride: int, padded: bool) -> None:
    width = 5 if padded else 0
    names = expand(f"n[{first:0{width}d}:{first + more:0{width}d}:{stride}]x")
    assert [int(name[1:-1]) for name in names] == list(range(first, first + more + 1, stride))
    assert not padded or all(len(name) == 7 for name in names)


@given(st.text(st.sampled_from("ab[]:019"), max_size=12))
def test_any_name_is_expanded_or_refused(pattern: str) -> None:
    try:
        names = expand(pattern)
    except ValueError:
        return
    assert names and not any(set("[]") & set(name) for name in names)
