"""Options that several tasks have."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

_MODE = re.compile(r"0?[0-7]{3,4}")
_OWNER = re.compile(r"[A-Za-z0-9_][\w.$-]*(?::[A-Za-z0-9_][\w.$-]*)?")


def _mode(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        raise ValueError('a number may be octal or not: write it as text, like "0644"')
    if isinstance(value, str) and not _MODE.fullmatch(value):
        raise ValueError(f'"{value}" is no mode; write it like "0644"')
    return value


def _owner(value: str) -> str:
    if not _OWNER.fullmatch(value):
        raise ValueError(f'"{value}" is no owner; write "user" or "user:group"')
    return value


def _absolute(value: str) -> str:
    if not PurePosixPath(value).is_absolute():
        raise ValueError(f'"{value}" is not absolute; paths on machines begin with /')
    return _without_nul(value)


def _without_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("cannot hold a NUL")
    return value


def _json(example: str) -> WithJsonSchema:
    schema: dict[str, Any] = {"type": "string", "examples": [example]}
    return WithJsonSchema(schema)


Mode = Annotated[str, BeforeValidator(_mode), _json("0644")]
Owner = Annotated[str, AfterValidator(_owner), _json("user:group")]
RemotePath = Annotated[str, Field(min_length=1), AfterValidator(_absolute), _json("/etc/x.conf")]
"""A path on the machine, as text: a slash at its end means something."""
Word = Annotated[str, AfterValidator(_without_nul)]


def mode_number(mode: str | None) -> int | None:
    return None if mode is None else int(mode, 8)
