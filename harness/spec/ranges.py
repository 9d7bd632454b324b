"""Host ranges as in Ansible's inventories: `node[01:04]`, `rack[a:d]`, `n[01:10:3]`, several in one name."""

from __future__ import annotations

import itertools
import math
import re
import string

_RANGE = re.compile(r"\[([^\[\]]*)\]")
_LIMIT = 100_000
"""More names than this from one range are a mistake in it."""


def expand(pattern: str) -> tuple[str, ...]:
    """The names that a pattern stands for, in order; itself when it has no range. Both ends belong to a range.

    A first number with leading zeros (`01`) sets the width. Letters run a–z, then A–Z. Raises ValueError."""
    parts = _RANGE.split(pattern)  # literal, range, literal, …
    if any("[" in literal or "]" in literal for literal in parts[::2]):
        raise ValueError("a bracket stands alone; a range is written node[01:04]")
    choices = [_steps(part) if index % 2 else [part] for index, part in enumerate(parts)]
    count = math.prod(map(len, choices))
    if count > _LIMIT:
        raise ValueError(f"stands for {count} names; at most {_LIMIT}")
    return tuple(map("".join, itertools.product(*choices)))


def _steps(text: str) -> list[str]:
    first, last, stride = _parts(text)
    if first.isascii() and first.isdigit() and last.isascii() and last.isdigit():
        width = len(first) if first.startswith("0") and len(first) > 1 else 0
        if width and width != len(last):
            raise ValueError(f"[{text}]: {first} and {last} are not of the same width")
        numbers = range(int(first), int(last) + 1, stride)
        if len(numbers) > _LIMIT:
            raise ValueError(f"[{text}] stands for {len(numbers)} names; at most {_LIMIT}")
        names = [f"{number:0{width}d}" for number in numbers]
    elif len(first) == len(last) == 1 and first in string.ascii_letters and last in string.ascii_letters:
        letters = string.ascii_letters
        names = list(letters[letters.index(first) : letters.index(last) + 1 : stride])
    else:
        raise ValueError(f"[{text}] must run from a number to a number or from a letter to a letter")
    if not names:
        raise ValueError(f"[{text}] is empty: {first} comes after {last}")
    return names


def _parts(text: str) -> tuple[str, str, int]:
    parts = text.split(":")
    if len(parts) not in (2, 3):
        raise ValueError(f"[{text}] is no range; one is written [01:04], or [01:10:2] with a stride")
    stride = parts[2] if len(parts) == 3 else "1"
    if not (stride.isascii() and stride.isdigit() and int(stride)):
        raise ValueError(f"[{text}]: the stride must be a whole number of at least 1")
    return parts[0] or "0", parts[1], int(stride)
