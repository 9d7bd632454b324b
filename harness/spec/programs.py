"""Programs that print what we read: run without a shell, for a limited time, and quoted when they fail."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

_QUOTED_LINES = 12


class ProgramFailed(Exception):
    """A program did not do its job; the text says why, and quotes what it said on stderr."""


def output_of(argv: Sequence[str], *, timeout: float, env: Mapping[str, str] | None = None) -> bytes:
    """What it prints on stdout. It gets no stdin; `env` is added to the environment; after `timeout` seconds it is
    killed, with whatever it has started. Raises ProgramFailed."""
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(env or {})},
            start_new_session=True,  # a group of its own, so that all of it can be killed
        )
    except OSError as error:
        raise ProgramFailed(f"cannot be run: {error.strerror}") from None
    with process:
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            _kill(process)
            raise ProgramFailed(f"did not end within {timeout:g} s") from None
        except BaseException:  # Ctrl-C is ours alone: the program's session does not get it
            _kill(process)
            raise
    if process.returncode != 0:
        code = process.returncode
        how = f"was killed by signal {-code}" if code < 0 else f"exits with {code}"
        raise ProgramFailed(f"{how}{quoted(stderr)}")
    return stdout


def quoted(stderr: bytes) -> str:
    """What a program said on stderr, to be put behind a message; "" for nothing."""
    lines = stderr.decode(errors="replace").strip().splitlines()
    more = [f"… ({len(lines) - _QUOTED_LINES} lines)"] if len(lines) > _QUOTED_LINES else []
    said = " / ".join(line.strip() for line in [*more, *lines[-_QUOTED_LINES:]] if line.strip())
    return f"; it says: {said}" if said else ""


def _kill(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)  # not yet waited for, so the pid is still its own
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
