"""Text from outside, with nothing in it that a terminal, an editor or a reader would take for anything but text."""

from __future__ import annotations

SPACES = "\u00a0\u202f"
"""No-break spaces, as numbers have them: not "printable" to Python, and harmless."""


def printable(text: str, kept: str = SPACES) -> str:
    """Every character that is not printable, line breaks among them, as a Python escape (`\\n`, `\\x1b`, `\\u202e`);
    those of `kept` stay."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode("ascii") for c in text)
