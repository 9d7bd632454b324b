"""Text from outside made harmless to show: nothing in it moves a cursor, changes a colour or reverses a line."""

from __future__ import annotations

import re
from typing import Any

from harness.record.codec import jsonable

# Control characters (C0, DEL, C1), line separators, directional overrides, halves of surrogate pairs, non-characters.
_UNSAFE = "\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff"
_LINE = re.compile(f"[{_UNSAFE}]")
_BLOCK = re.compile(f"(?![\n\t])[{_UNSAFE}]")


def one_line(value: object, limit: int = 0) -> str:
    """One line of printable text: each unsafe character as a Python escape (`\\n`, `\\x1b`), at most `limit`
    characters where that is not 0. The result is legal in XML 1.0."""
    text = _LINE.sub(_escape, value if isinstance(value, str) else str(value))
    return text if not limit or len(text) <= limit else text[: limit - 1] + "…"


def block(text: str) -> str:
    """The same for text of several lines: newlines and tabs stay."""
    return _BLOCK.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


def figure(value: Any) -> str:
    """A number, or whatever else stands among figures, as people read it: thousands apart, four digits of fractions."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(figure, value))
    if isinstance(value, dict):
        return ", ".join(f"{one_line(key)} {figure(inner)}" for key, inner in value.items())
    return one_line(value if isinstance(value, str) else jsonable(value))
