"""Asking a machine's own Python to do something (harness_tasks.on_machine), and a machine's own words when it fails."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from harness.api import Completed, InfrastructureError, Machine

_LOADER = "import sys; exec(compile(sys.stdin.buffer.read(int(sys.argv[1])), 'harness_tasks', 'exec'))"
_LINES, _CHARACTERS = 5, 400


async def ask(
    machine: Machine, what: str, request: Mapping[str, Any], *, become: bool, timeout: float, data: bytes = b""
) -> Any:
    """The answer to a request, whose bytes are `data`. Raises InfrastructureError with the machine's own words."""
    program = _program()
    argv = (machine.python, "-I", "-c", _LOADER, str(len(program)), what)
    line = json.dumps(request).encode("ascii") + b"\n"
    done = await machine.run(argv, input=program + line + data, timeout=timeout, become=become)
    if done.returncode != 0:
        raise InfrastructureError(words(done))
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise InfrastructureError(f"its Python answered something else: {_tail(done.stdout)}") from None


@cache
def _program() -> bytes:
    return (Path(__file__).parent / "on_machine.py").read_bytes()


async def must(machine: Machine, argv: Sequence[str], *, become: bool, timeout: float, input: bytes = b"") -> Completed:
    """Run it. Raises InfrastructureError with the machine's own words when it fails."""
    done = await machine.run(argv, input=input, timeout=timeout, become=become)
    if done.returncode != 0:
        raise InfrastructureError(f"{argv[0]}: {words(done)}")
    return done


def words(done: Completed) -> str:
    """How a command failed: its status, and the end of what it said."""
    how = f"exit status {done.returncode}" if done.returncode >= 0 else f"killed by signal {-done.returncode}"
    said = _tail(done.stderr) or _tail(done.stdout)
    return f"{how}: {said}" if said else how


def _tail(output: bytes) -> str:
    """The last lines, in one."""
    lines = [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
    text = " / ".join(lines[-_LINES:])
    return text if len(text) <= _CHARACTERS else f"…{text[-_CHARACTERS:]}"
