"""Evidence as people read it: a line for each finding, those with something wrong first."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from harness.record.text import figure, one_line

_MAX_ITEMS = 12
_LONGEST = 1000
WRONG = "wrong"
"""The key of a finding under which a plugin says what is wrong with it."""
MECHANISM = "mechanism"
"""In what was seen of a fault: what it was done by (relay, nft, tc)."""


def evidence_lines(evidence: Mapping[str, Any], measured: str = "", limit: int = 12) -> tuple[str, ...]:
    """At most `limit` lines and one that says what was left out; what is empty has no line.

    A table of tables (one for each node, say) and a list of tables have a line for each of these. First come those
    that say what is `wrong`, or that `measured` names."""
    findings = sorted(_findings(evidence), key=lambda finding: not _is_wrong(finding[0], finding[1], measured))
    lines = [one_line(f"{_words(name)}: {_told(value)}", _LONGEST) for name, value in findings[:limit]]
    if len(findings) > limit:
        lines.append(f"… and {len(findings) - limit:,} more in result.json")
    return tuple(lines)


def _findings(evidence: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in evidence.items():
        if _is_empty(value):
            continue
        if isinstance(value, Mapping) and all(isinstance(inner, Mapping) for inner in value.values()):
            yield from value.items()
        elif isinstance(value, list | tuple) and all(isinstance(inner, Mapping) for inner in value):
            yield from ((key, inner) for inner in value)
        else:
            yield key, value


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str | list | tuple | Mapping) and not value)


def _is_wrong(name: str, value: Any, measured: str) -> bool:
    said = isinstance(value, Mapping) and not _is_empty(value.get(WRONG))
    return said or re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", measured) is not None


def _words(name: object) -> str:
    return one_line(name).replace("_", " ")


def _told(value: Any) -> str:
    if isinstance(value, Mapping):
        rest = ", ".join(
            f"{_words(key)} ({_told(inner)})" if isinstance(inner, Mapping) else f"{_words(key)} {_told(inner)}"
            for key, inner in value.items()
            if key != WRONG and not _is_empty(inner)
        )
        wrong = value.get(WRONG)
        if _is_empty(wrong):
            return rest
        said = "; ".join(map(figure, wrong)) if isinstance(wrong, list | tuple) else figure(wrong)
        return f"{said} ({rest})" if rest else said
    if isinstance(value, list | tuple):
        more = f", … and {len(value) - _MAX_ITEMS:,} more" if len(value) > _MAX_ITEMS else ""
        return ", ".join(map(_told, value[:_MAX_ITEMS])) + more
    return figure(value)


def mechanism_of(seen: Mapping[str, Any]) -> str:
    """What a fault was done by, as evidence of it says: relay, nft, tc. "" where it does not."""
    told = seen.get(MECHANISM)
    return told if isinstance(told, str) else ""
