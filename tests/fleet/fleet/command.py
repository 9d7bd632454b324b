"""Commands of this machine, run to their end."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from fleet.errors import FleetError

PATH = os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin"
"""Where programs are looked for: tools of administrators too, which the PATH of a test runner may lack."""


def which(program: str) -> str | None:
    return shutil.which(program, path=PATH)


def run(
    argv: Sequence[str], *, input: bytes | None = None, env: Mapping[str, str] | None = None, timeout: float = 900.0
) -> str:
    """What a command printed. Raises FleetError, with what it said on stderr, when it fails or takes too long."""
    environment = {**os.environ, "PATH": PATH, **(env or {})}
    source: dict[str, object] = {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
    try:
        done = subprocess.run(argv, capture_output=True, env=environment, timeout=timeout, **source)  # type: ignore[call-overload]
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FleetError(f"{' '.join(argv)}: {error}") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise FleetError(f"{' '.join(argv)}: exit status {done.returncode}: {said[-4000:]}")
    text: str = done.stdout.decode(errors="replace")
    return text
