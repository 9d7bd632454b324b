"""Regular expressions on text that others have written, within a time limit."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

from harness.api import InfrastructureError
from harness_probes.processes import run

_SCRIPT = Path(__file__).parent / "scan_script.py"
_ANSWER = 1 << 26  # bytes


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in a log: so many bytes and whole lines from its begin."""

    path: Path
    offset: int = 0
    lines: int = 0


@dataclass(frozen=True, slots=True)
class Hits:
    """How often a pattern matches, and where first: line number and text."""

    count: int
    first: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Scanned:
    """What was found in one log, by pattern. `end` is after its last whole line; `error`: why it could not be read."""

    end: Spot
    hits: tuple[Hits, ...]
    error: str = ""


async def scan(spots: Sequence[Spot], patterns: Sequence[str], timeout: float) -> list[Scanned]:
    """Look through logs from these spots on, in a process of its own that is killed when its time is over.

    Raises CommandTimeout, InfrastructureError."""
    files = [{"path": str(spot.path), "offset": spot.offset, "lines": spot.lines} for spot in spots]
    answer = await _ask({"files": files, "texts": [], "patterns": list(patterns)}, timeout)
    return [
        Scanned(
            Spot(spot.path, one["offset"], one["lines"]),
            tuple(
                Hits(hit["count"], tuple((line["line"], line["text"]) for line in hit["first"])) for hit in one["found"]
            ),
            one["error"],
        )
        for spot, one in zip(spots, answer["files"], strict=True)
    ]


async def matches(text: str, pattern: str, timeout: float) -> bool:
    """Whether the pattern is found in the text. Raises CommandTimeout, InfrastructureError."""
    answer = await _ask({"files": [], "texts": [text], "patterns": [pattern]}, timeout)
    return bool(answer["texts"][0][0])


async def _ask(question: dict[str, Any], timeout: float) -> Any:
    ran = await run(
        (sys.executable, "-I", "-S", str(_SCRIPT)), timeout=timeout, input=json.dumps(question).encode(), kept=_ANSWER
    )
    if ran.returncode != 0:
        why = ran.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise InfrastructureError(f"the search ended with status {ran.returncode}: {why}")
    return json.loads(ran.stdout)


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    return pattern


Pattern = Annotated[str, AfterValidator(_compiles)]
"""A regular expression of Python's `re`."""
