"""When a log line was written, and how grave it is, as far as it says so itself. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from enum import IntEnum
from functools import lru_cache


class Level(IntEnum):
    """The greater, the graver."""

    UNKNOWN = 0
    DEBUG = 1
    INFO = 2
    WARNING = 3
    ERROR = 4


HEAD = 160
"""Bytes of a line in which its time and level are looked for."""
_STAMP = re.compile(
    rb"(?P<minutes>\d{4}-\d\d-\d\d[T |_]\d\d:\d\d):(?P<second>\d\d)"
    rb"(?:[.,](?P<fraction>\d{1,9}))?\s?(?P<zone>Z|UTC|[+-]\d\d:?\d\d)?"
)
_EPOCH = re.compile(rb"(?<![\d.])(?P<seconds>1\d{9})(?:\.(?P<fraction>\d{1,9})|(?P<millis>\d{3})(?!\d))?(?!\d)")
_LEVEL = re.compile(
    rb"(?<![A-Za-z])(?:(?P<error>error|erro|err|fatal|panic|panicked|crit|critical|E(?=\[|\d{4} ))"
    rb"|(?P<warning>warning|warn|wrn|W(?=\[|\d{4} ))"
    rb"|(?P<info>info|inf|notice|I(?=\[|\d{4} ))"
    rb"|(?P<debug>debug|debg|dbg|trace|trc|D(?=\[|\d{4} )))(?![A-Za-z])",
    re.IGNORECASE,
)
_LEVELS = {"error": Level.ERROR, "warning": Level.WARNING, "info": Level.INFO, "debug": Level.DEBUG}


def time_of(line: bytes) -> float | None:
    """Unix seconds, by an ISO 8601 moment (without a zone: UTC) or seconds or milliseconds since 1970 near its
    beginning; None where there is none."""
    head = line[:HEAD]
    if (found := _STAMP.search(head)) is not None:
        return _iso(found)
    if (found := _EPOCH.search(head[:48])) is not None:
        fraction = found["fraction"] or found["millis"] or b"0"
        return int(found["seconds"]) + int(fraction) / 10.0 ** len(fraction)
    return None


def _iso(found: re.Match[bytes]) -> float | None:
    date, second, fraction, zone = found.group("minutes", "second", "fraction", "zone")
    minute = _minute(date, zone)
    if minute is None:
        return None
    return minute + int(second) + (int(fraction) / 10.0 ** len(fraction) if fraction else 0.0)


@lru_cache(maxsize=256)
def _minute(text: bytes, zone: bytes | None) -> float | None:
    """Unix seconds of the beginning of a minute, as most lines have it in common with the one before."""
    try:
        parts = [int(part) for part in re.split(rb"\D", text)]
        return datetime(parts[0], parts[1], parts[2], parts[3], parts[4], tzinfo=_zone(zone)).timestamp()
    except (ValueError, OverflowError):
        return None


def _zone(text: bytes | None) -> timezone:
    if not text or text in (b"Z", b"UTC"):
        return UTC
    hours, minutes = int(text[1:3]), int(text[-2:])
    return timezone((-1 if text[:1] == b"-" else 1) * timedelta(hours=hours, minutes=minutes))


def level_of(line: bytes) -> Level:
    """By the first word near its beginning that is a level's name."""
    found = _LEVEL.search(line[:HEAD])
    return _LEVELS[found.lastgroup] if found is not None and found.lastgroup else Level.UNKNOWN
