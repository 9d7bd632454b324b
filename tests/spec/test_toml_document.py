"""Positions of keys, and what is said of files that are not TOML."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import SpecError
from harness.spec.toml_document import KeyPath, TomlDocument, show_path
from harness.spec.toml_writer import dumps

KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*'""")

keys = st.from_regex(r"[a-z]{1,3}", fullmatch=True) | st.text(st.characters(codec="utf-8"), max_size=4)
values = st.recursive(
    st.integers() | keys,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(keys, inner, max_size=3)
        | st.lists(st.dictionaries(keys, inner, max_size=3), min_size=1, max_size=3)
    ),
    max_leaves=10,
)


def paths(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    children = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for step, child in children:
        yield (*path, step)
        yield from paths(child, (*path, step))


@given(st.dictionaries(keys, values, max_size=5))
def test_every_key_stands_where_locate_says(table: dict[str, Any]) -> None:
    document = TomlDocument.parse(dumps(table))
    lines = document.text.split("\n")
    for path in paths(document.data):
        line, column = document.locate(path)
        rest = lines[line - 1][column - 1 :]
        if isinstance(path[-1], str) or lines[line - 1].startswith("[["):
            token = KEY.match(rest)
            assert token, rest
            named = next(step for step in reversed(path) if isinstance(step, str))
            assert next(iter(tomllib.loads(f"{token[0]} = 1"))) == named
        else:
            assert rest[0] not in " ,]"


SAMPLE = '''\
a.b.c = 1                     # comment
"q k" = [1, {x=2, y."ü".z=3}, # comment
  "é", [ {n = 1} ] ]
[t]
k = { "é" = 1, b = """
multi""" }
  [t.'sub']
  "esc\\u0041" = 1
[[arr]]
n = 1
[[arr.inner]]
m = 1
[[arr.inner]]
m = 2
[[arr]]
[arr.sub.deep]
u = 1
[later.early]
[later]
x = 1
'''


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("path", "place"),
    [
        (("a",), (1, 1)),
        (("a", "b", "c"), (1, 5)),
        (("q k", 0), (2, 10)),
        (("q k", 1, "y", "ü", "z"), (2, 25)),
        (("q k", 2), (3, 3)),
        (("q k", 3, 0, "n"), (3, 11)),
        (("t",), (4, 2)),
        (("t", "k", "b"), (5, 16)),
        (("t", "sub", "escA"), (8, 3)),
        (("arr",), (9, 3)),
        (("arr", 0, "inner", 1, "m"), (14, 1)),
        (("arr", 1), (15, 3)),
        (("arr", 1, "sub", "deep"), (16, 10)),
        (("later",), (19, 2)),
        (("later", "nothing", 3), (19, 2)),
        (("nothing",), (1, 1)),
        ((), (1, 1)),
    ],
)
def test_locate(newline: str, path: KeyPath, place: tuple[int, int]) -> None:
    assert TomlDocument.parse(SAMPLE.replace("\n", newline)).locate(path) == place


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("workloads", 0, "rate"), "workloads[0].rate"),
        (("a b", 'q"'), '"a b"."q\\""'),
        ((), ""),
        (("x", 1, 2), "x[1][2]"),
    ],
)
def test_show_path(path: KeyPath, text: str) -> None:
    assert show_path(path) == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a = ", "p.toml:1:5: invalid value"),
        ("\nb = 60s # a minute", 'p.toml:2:7: 60s is not a TOML value; text stands in quotes: b = "60s"'),
        ("name = foo", 'p.toml:1:8: foo is not a TOML value; text stands in quotes: name = "foo"'),
        ("a=1\na=2\n", "p.toml:2:4: this key is already there; a key is written once"),
        (
            "[t.u]\n[t.u]\n",
            "p.toml:2:5: the table [t.u] is already there; a table is written once; [[…]] makes a list of tables",
        ),
        ("x = 'é' y", "p.toml:1:9: expected newline or end of document after a statement"),
        ("x", "p.toml:1:2: expected '=' after a key in a key/value pair"),
        ("a=1\nb='''\n", "p.toml:3:1: expected \"'''\""),
    ],
)
def test_syntax_errors(text: str, problem: str) -> None:
    with pytest.raises(SpecError) as error:
        TomlDocument.parse(text, "p.toml")
    assert str(error.value) == problem


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = " + "[" * 5000, "p.toml:1:105: is nested more than 100 deep"),
        ("b = '[[' # [[\na = " + "[" * 101 + "]" * 101, "p.toml:2:105: is nested more than 100 deep"),
        ("b = 1\n" + ".".join("a" * 101) + " = 1", "p.toml:2:1: is nested more than 100 deep"),
        ("a = " + "1" * 5000, "p.toml: cannot be read as TOML: Exceeds the limit"),
    ],
)
def test_absurd_files_are_problems_not_tracebacks(text: str, message: str) -> None:
    with pytest.raises(SpecError) as error:
        TomlDocument.parse(text, "p.toml")
    assert str(error.value).startswith(message)


def test_deep_files_that_are_read() -> None:
    deep: KeyPath = ("a",) * 100
    assert TomlDocument.parse(".".join("a" * 100) + " = 1").locate(deep) == (1, 199)
    assert TomlDocument.parse("a = " + "[" * 99 + "]" * 99).locate(("a", *[0] * 98)) == (1, 103)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        document = TomlDocument.parse(text)
    except SpecError as error:
        assert error.problems
    else:
        for path in paths(document.data):
            assert document.locate(path) >= (1, 1)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b'a = 1\n"\xc3\xa9" = "\xe9"\n')
    for path, message in [
        (tmp_path / "none.toml", "there is no such file"),
        (tmp_path, "is a folder, not a file"),
        (latin / "x", "cannot be read: Not a directory"),
    ]:
        with pytest.raises(SpecError) as error:
            TomlDocument.read(path)
        assert str(error.value) == f"{path}: {message}"
    with pytest.raises(SpecError) as error:
        TomlDocument.read(latin)
    assert str(error.value) == f"{latin}:2:8: is not UTF-8 text; save the file as UTF-8"


def test_a_byte_order_mark_is_named(tmp_path: Path) -> None:
    file = tmp_path / "bom.toml"
    file.write_bytes(b"\xef\xbb\xbfa = 1\n")
    with pytest.raises(SpecError) as error:
        TomlDocument.read(file)
    assert str(error.value) == f"{file}:1:1: begins with a byte order mark; save the file as UTF-8 without it"


def test_paths_have_a_line_whatever_their_keys_are() -> None:
    assert show_path(("hosts", "a-1", 'x\ny"\\[red]é', 2)) == r'hosts.a-1."x\ny\"\\[red]é"[2]'
