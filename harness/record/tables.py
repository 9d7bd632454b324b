"""Tables of text, for any medium: what stands in them, and how it is to be taken.

Texts here are as they came; who shows them makes them harmless for its medium (see harness.record.text)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from harness.spec.verdict import Verdict

NONE = "–"
"""Stands where there is nothing to say."""


class Mood(StrEnum):
    """How a row is to be taken; faces choose colours by it."""

    GOOD = "good"
    DOUBTFUL = "doubtful"
    BAD = "bad"
    PLAIN = "plain"


_MOOD_OF_VERDICT = {Verdict.PASS: Mood.GOOD, Verdict.UNKNOWN: Mood.DOUBTFUL, Verdict.FAIL: Mood.BAD}


def mood_of(verdict: str) -> Mood:
    """The mood of a verdict's text; anything that is no verdict is doubtful."""
    return next((mood for known, mood in _MOOD_OF_VERDICT.items() if known == verdict), Mood.DOUBTFUL)


@dataclass(frozen=True, slots=True)
class Row:
    """`cells` in the order of the table's columns."""

    cells: tuple[str, ...]
    mood: Mood = Mood.PLAIN


@dataclass(frozen=True, slots=True)
class Table:
    """`numeric` are the columns to be set flush right, `wide` those to be broken first where a line is too long;
    `notes` are lines to be shown beneath."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    numeric: frozenset[str] = frozenset()
    wide: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
