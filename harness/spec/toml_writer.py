"""The one writer of TOML: the `toml` package, and proof by reading back.

`toml` 0.10 is wrong in places (keys of inline tables are not quoted, control characters, tables in mixed arrays,
time zones). So what it writes is read again with tomllib and compared, and only what comes back the same is used."""

from __future__ import annotations

import datetime
import json
import math
import re
import tomllib
from collections.abc import Mapping
from typing import Any

import toml

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def dumps(table: Mapping[str, Any]) -> str:
    """TOML text from which tomllib reads exactly `table` (tuples as lists). Raises TypeError, naming the path,
    for what TOML has no form for, `None` among it."""
    plain = {key: _plain(value, str(key)) for key, value in table.items()}
    for encoder in (_Encoder(), _InlineEncoder()):
        try:
            text = toml.dumps(plain, encoder=encoder)
        except (IndexError, TypeError):
            continue  # the package trips over control characters in keys, and over a list of tables and others
        if _reads_back(text, plain):
            return text
    raise ValueError("this table cannot be written as TOML: what is written reads back differently")


def inline(value: Any) -> str:
    """One value on one line. Raises TypeError for what TOML has no form for."""
    return _value(_plain(value, "value"))


class _Encoder(toml.TomlEncoder):  # type: ignore[type-arg] # generic in its stubs only
    """The package's own layout, tables and arrays of tables, with single values written by `_value`."""

    def dump_value(self, v: Any) -> str:
        return _value(v)


class _InlineEncoder(_Encoder):
    """Whatever is not a table at the top, or in a list of tables there, on one line: there is little that it can get
    wrong. The package leaves out empty tables in lists of tables."""

    def dump_sections(self, o: Mapping[str, Any], sup: str) -> tuple[str, dict[str, Any]]:
        if sup:
            return _lines(o), {}
        tables = {key: value for key, value in o.items() if isinstance(value, dict)}
        lists = {key: value for key, value in o.items() if _is_tables(value)}
        text = _lines({key: value for key, value in o.items() if key not in tables and key not in lists})
        text += "".join(f"\n[[{_key(key)}]]\n{_lines(table)}" for key, value in lists.items() for table in value)
        return text, {_key(key): value for key, value in tables.items()}


def _lines(table: Mapping[str, Any]) -> str:
    return "".join(f"{_key(key)} = {_value(value)}\n" for key, value in table.items())


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            # JSON's escapes are TOML's, but for DEL; astral characters stand for themselves.
            return _ESCAPED.sub(lambda m: f"\\u{ord(m[0]):04x}", json.dumps(value, ensure_ascii=False))
        case int():
            return str(value)
        case float():
            return repr(value)  # nan and inf too are written as in Python
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
        case dict():
            pairs = ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items())
            return f"{{ {pairs} }}" if pairs else "{}"
        case _:
            return "[" + ", ".join(map(_value, value)) + "]"


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _value(key)


def _plain(value: Any, path: str) -> Any:
    """The value in TOML's own types."""
    match value:
        case bool() | datetime.datetime() | datetime.date():
            return value
        case str():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise TypeError(f"{path}: TOML cannot hold text with lone surrogates: {value!r}") from None
            return str(value)
        case int():
            return int(value)
        case float():
            return float(value)
        case datetime.time() if value.tzinfo is None:
            return value
        case Mapping():
            for key in value:
                if not isinstance(key, str):
                    raise TypeError(f"{path}: TOML's keys are text, not {key!r}")
            return {str(key): _plain(item, f"{path}.{key}") for key, item in value.items()}
        case list() | tuple():
            return [_plain(item, f"{path}[{index}]") for index, item in enumerate(value)]
        case _:
            raise TypeError(f"{path}: TOML has no form for {type(value).__name__}: {value!r}")


def _reads_back(text: str, table: Mapping[str, Any]) -> bool:
    try:
        return _same(tomllib.loads(text), table)
    except tomllib.TOMLDecodeError:
        return False


def _same(a: Any, b: Any) -> bool:
    """Equal in type too: 1, 1.0 and true are three values; nan is nan."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b) or (isinstance(a, float) and math.isnan(a) and math.isnan(b))
