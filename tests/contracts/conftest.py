"""What of a run can be found on this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


def _of_run(process: Path, run_id: str) -> str:
    """The process, if it names the run in its arguments, carries it in its environment or stands in its folder."""
    try:
        line = (process / "cmdline").read_bytes()
        about = line + (process / "environ").read_bytes() + bytes((process / "cwd").readlink())
    except OSError:  # gone meanwhile, or a zombie
        return ""
    return f"process {process.name} {line!r}" if run_id.encode() in about else ""


@pytest.fixture
def processes_of() -> Callable[[str], list[str]]:
    """The living processes of a run, a line each."""
    return lambda run_id: [*filter(None, (_of_run(process, run_id) for process in Path("/proc").glob("[0-9]*")))]
