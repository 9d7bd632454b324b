"""Durations as people write them. Without what it takes to read playbooks: who only shows some need not load that."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
LONGEST = 365 * 86400.0
"""Seconds (and blocks) that may be asked for: more is a slip of the pen."""
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def shown(value: object) -> str:
    """A value as it stands in a TOML file, as far as that is short to say."""
    if isinstance(value, dict):
        return "a table"
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, str | bool) else str(value)
    return text if len(text) <= 60 else text[:57] + "…"


def decimal(value: float) -> str:
    """The shortest decimal text that reads back as exactly this number, without an exponent."""
    text = format(Decimal(repr(float(value))), "f")
    return text.removesuffix(".0")


def parse_duration(value: object) -> float:
    """Seconds of `"10s"`, `"2m30s"`, `"250ms"`. Raises ValueError, a bare number included: it has no unit."""
    if isinstance(value, str) and _DURATION.fullmatch(value.strip()):
        if (seconds := seconds_of(value)) > LONGEST:
            raise ValueError(f"{shown(value)} is longer than 365 days")
        return seconds
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        raise ValueError(f'{value} has no unit; write "{value}s" for seconds')
    raise ValueError(f'{shown(value)} is not a duration; write one like "10s", "2m30s" or "250ms"')


def seconds_of(text: str) -> float:
    return sum(float(n) * _SECONDS[unit] for n, unit in _DURATION_PART.findall(text))


def format_duration(seconds: float) -> str:
    """Short text for people, about three digits of it: `2m30s`, `1.5s`, `250ms`. `parse_duration` reads it back
    (but for a negative one)."""
    if seconds < 0:
        return "-" + format_duration(-seconds)
    if seconds < 0.9995:
        return f"{decimal(float(f'{seconds * 1000:.3g}'))}ms" if seconds else "0s"
    if seconds < 59.95:
        return f"{decimal(float(f'{seconds:.3g}'))}s"
    whole = round(seconds)
    parts = [(whole // 3600, "h"), (whole % 3600 // 60, "m"), (whole % 60, "s")]
    return "".join(f"{n}{unit}" for n, unit in parts if n)
