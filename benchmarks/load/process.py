"""Child processes on one core."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

GRACE = 30.0
"""Seconds that a generator may take on top of those that it is to send for: to start, to sum up."""


@dataclass(frozen=True)
class Done:
    """`cpu`: user and system seconds of the process, and of those it waited for."""

    stdout: str
    cpu: float


def pinned(core: int, argv: Sequence[str | Path]) -> list[str]:
    return ["taskset", "--cpu-list", str(core), *map(str, argv)]


def run(
    core: int, argv: Sequence[str | Path], *, seconds: float, env: Mapping[str, str] | None = None, input: str = ""
) -> Done:
    """Run a command that takes about so long, on this core. Raises RuntimeError, with what it said, when it fails or
    does not end."""
    before = _children()
    try:
        done = subprocess.run(
            pinned(core, argv),
            input=input,
            capture_output=True,
            text=True,
            env={**os.environ, **(env or {})},
            timeout=seconds + GRACE,
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{argv[0]} does not end") from error
    if done.returncode != 0:
        raise RuntimeError(f"{argv[0]}: exit status {done.returncode}: {(done.stderr or done.stdout)[-4000:]}")
    return Done(done.stdout, _children() - before)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
