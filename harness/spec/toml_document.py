"""A TOML file as it was read: its data, and where in the text each part of it stands."""

from __future__ import annotations

import codecs
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.errors import Problem, SpecError
from harness.spec.model import SourceRef

KeyPath = tuple[str | int, ...]
"""The way to a value from the top of a document: keys of tables, and indices of arrays from 0."""

_DEEPEST = 100
"""More than anybody writes, and little enough that whoever walks through a document may recurse."""

_TOKEN = re.compile(
    r""""{3}(?:\\.|[^\\])*?"{3}|'{3}.*?'{3}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|#[^\n]*|[\[\]{}]""", re.DOTALL
)
"""Brackets, and whatever may hold some that are none: strings and comments."""
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_AT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_BARE_TEXT = re.compile(r"\s*([\w.\-\"']+)\s*=\s*([^\s\"'\[{#][^#\"']*?)\s*(?:#.*)?")


def show_path(path: KeyPath) -> str:
    """`workloads[0].rate`, keys quoted where TOML would have them quoted."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            # JSON's escapes are TOML's too; a key's line breaks must not begin a line of what is shown
            key = step if _BARE_KEY.fullmatch(step) else json.dumps(step, ensure_ascii=False)
            text += f".{key}" if text else key
    return text


@dataclass(frozen=True, eq=False)
class TomlDocument:
    """A TOML file: `file` is its name as errors show it, `data` what tomllib made of `text`."""

    file: str
    text: str = field(repr=False)  # there may be secrets in it
    data: Mapping[str, Any] = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> TomlDocument:
        """Raises SpecError for a file that cannot be read, is not UTF-8 or is not TOML."""
        file = str(path)
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            raise SpecError([Problem(file, 0, 0, "", "there is no such file")]) from None
        except IsADirectoryError:
            raise SpecError([Problem(file, 0, 0, "", "is a folder, not a file")]) from None
        except OSError as error:
            raise SpecError([Problem(file, 0, 0, "", f"cannot be read: {error.strerror or error}")]) from None
        if raw.startswith(codecs.BOM_UTF8):
            hint = "save the file as UTF-8 without it"
            raise SpecError([Problem(file, 1, 1, "", "begins with a byte order mark", hint)])
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            before = raw[: error.start].split(b"\n")
            column = len(before[-1].decode()) + 1
            problem = Problem(file, len(before), column, "", "is not UTF-8 text", "save the file as UTF-8")
            raise SpecError([problem]) from None
        return cls.parse(text, file)

    @classmethod
    def parse(cls, text: str, file: str = "<text>") -> TomlDocument:
        """Raises SpecError for text that is not TOML."""
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise SpecError([_syntax_problem(str(error), text, file)]) from None
        except RecursionError:
            data = None
        except ValueError as error:  # an integer of thousands of digits
            raise SpecError([Problem(file, 0, 0, "", f"cannot be read as TOML: {error}")]) from None
        if data is None or _deeper_than(_DEEPEST, data):
            raise SpecError([Problem(file, *_deepest(text), "", f"is nested more than {_DEEPEST} deep")])
        return cls(file, text, data)

    @cached_property
    def _positions(self) -> Mapping[KeyPath, tuple[int, int]]:
        # The syntax tree is needed for errors only: a run of a good playbook never loads tree-sitter.
        from harness.spec.toml_positions import key_positions

        return key_positions(self.text)

    def locate(self, path: KeyPath) -> tuple[int, int]:
        """Line and column (characters), both from 1, of the key at `path`: for a table, of its name in its
        header; for an element of an array, of the element. What is not there is located at what would hold it."""
        while path and path not in self._positions:
            path = path[:-1]
        return self._positions[path] if path else (1, 1)

    def where(self, path: KeyPath) -> SourceRef:
        return SourceRef(self.file, *self.locate(path))

    def problem(self, path: KeyPath, message: str, hint: str = "") -> Problem:
        """A problem with the value at `path`."""
        return Problem(self.file, *self.locate(path), show_path(path), message, hint)


def _deeper_than(depth: int, data: Mapping[str, Any]) -> bool:
    level: list[Any] = [data]
    for _ in range(depth + 1):
        tables = (value.values() for value in level if isinstance(value, dict))
        arrays = (value for value in level if isinstance(value, list))
        level = [child for children in (*tables, *arrays) for child in children]
    return bool(level)


def _deepest(text: str) -> tuple[int, int]:
    """Line and column of the bracket that is one too many; of the line with most dots, where it is no bracket."""
    depth = 0
    for match in _TOKEN.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(match[0], 0)
        if depth > _DEEPEST:
            before = text[: match.start()].split("\n")
            return len(before), len(before[-1]) + 1
    lines = text.split("\n")
    return lines.index(max(lines, key=lambda line: line.count("."))) + 1, 1


def _syntax_problem(error: str, text: str, file: str) -> Problem:
    lines = text.split("\n")
    line, column = len(lines), len(lines[-1]) + 1
    match = _AT.search(error)
    if match and match[1]:
        line, column = int(match[1]), int(match[2])
    message = error[: match.start()] if match else error
    message, hint = _in_plain_words(message, lines[line - 1])
    return Problem(file, line, column, "", message, hint)


def _in_plain_words(message: str, line: str) -> tuple[str, str]:
    """tomllib's message for people who do not write TOML every day: message and hint."""
    if match := re.fullmatch(r"Cannot declare (\(.*\)) twice", message):
        table = ".".join(re.findall(r"'([^']*)'", match[1]))
        return f"the table [{table}] is already there", "a table is written once; [[…]] makes a list of tables"
    if message == "Cannot overwrite a value":
        return "this key is already there", "a key is written once"
    if (match := _BARE_TEXT.fullmatch(line)) and message.startswith(("Invalid value", "Expected newline")):
        return f"{match[2]} is not a TOML value", f'text stands in quotes: {match[1]} = "{match[2]}"'
    return message[:1].lower() + message[1:], ""
