"""Options that several tasks have."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

_MODE = re.compile(r"0?[0-7]{3,4}")
_PACKAGE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.+_:-]*[A-Za-z0-9.+_])?")
_UNIT = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9_.@:\\-]*")
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


def _package(value: str) -> str:
    if not _PACKAGE.fullmatch(value):
        raise ValueError(f'"{value}" is no name of a package')
    return value


def _unit(value: str) -> str:
    if not _UNIT.fullmatch(value):
        raise ValueError(f'"{value}" is no name of a systemd unit')
    return value


def _some(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values:
        raise ValueError("must not be empty")
    return values


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
Words = Annotated[tuple[Word, ...], AfterValidator(_some)]
UnitName = Annotated[str, AfterValidator(_unit)]
PackageNames = Annotated[tuple[Annotated[str, AfterValidator(_package)], ...], AfterValidator(_some)]
"""None of them is an option, nor ends in the `-` by which apt-get is told to remove."""


def mode_number(mode: str | None) -> int | None:
    return None if mode is None else int(mode, 8)
