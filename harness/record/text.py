"""Text from outside made harmless to show: nothing in it moves a cursor, changes a colour or reverses a line."""

from __future__ import annotations

from typing import Any

from harness.printable import SPACES, printable
from harness.record.codec import jsonable


def one_line(value: object, limit: int = 0) -> str:
    """One line of printable text: every other character as a Python escape (`\\n`, `\\x1b`, `\\u202e`), at most
    `limit` characters where that is not 0. The result is legal in XML 1.0."""
    text = printable(value if isinstance(value, str) else str(value))
    return text if not limit or len(text) <= limit else text[: limit - 1] + "…"


def block(text: str) -> str:
    """The same for text of several lines: newlines and tabs stay."""
    return printable(text, SPACES + "\n\t")


def sentence(text: str) -> str:
    """One line of a text of several: what it says, and of what that quotes, indented beneath (the end of a log), the
    last line."""
    said: list[tuple[str, list[str]]] = []
    for line in filter(str.strip, text.split("\n")):
        if said and line[0].isspace():
            said[-1][1].append(line.strip())
        else:
            said.append((line.strip(), []))
    return one_line("; ".join(" ".join((line, *["…"][: len(under) - 1], *under[-1:])) for line, under in said))


def hanging(text: str) -> str:
    """A block whose lines after the first are indented: none of them passes for the beginning of something else."""
    return block(text).replace("\n", "\n  ")


def unnamed(text: str, name: str) -> str:
    """The text without `NAME: ` in front, for those who put that there themselves."""
    while text.startswith(f"{name}: "):
        text = text.removeprefix(f"{name}: ")
    return text


def counted(number: int, noun: str) -> str:
    """`1 node`, `1,200 nodes`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


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
