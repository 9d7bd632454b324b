"""Asking a machine's own Python to do something (harness_tasks.on_machine), and a machine's own words when it fails."""

from __future__ import annotations

import json
import marshal
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from typing import Any

from harness.api import Completed, InfrastructureError, Machine

_LOADER = (
    "import marshal, sys; from _frozen_importlib_external import MAGIC_NUMBER; "
    "magic, code, source = marshal.load(sys.stdin.buffer); "
    "exec(marshal.loads(code) if magic == MAGIC_NUMBER else compile(source, 'harness_tasks', 'exec'))"
)
_EVERYWHERE = 2
"""The version of marshal that every Python reads."""
_LINES, _CHARACTERS = 5, 400


async def ask(
    machine: Machine, what: str, request: Mapping[str, Any], *, become: bool, timeout: float, data: bytes = b""
) -> Any:
    """The answer to a request, whose bytes are `data`. Raises InfrastructureError with the machine's own words."""
    program = _program()
    argv = (machine.python, "-I", "-S", "-c", _LOADER, what)
    asked = marshal.dumps(dict(request), _EVERYWHERE)
    done = await machine.run(argv, input=program + asked + data, timeout=timeout, become=become)
    if done.returncode != 0:
        raise InfrastructureError(words(done))
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise InfrastructureError(f"its Python answered something else: {_tail(done.stdout)}") from None


@cache
def _program() -> bytes:
    """The source, and what our own Python has made of it, which spares others of its kind the work."""
    source = (Path(__file__).parent / "on_machine.py").read_bytes()
    code = marshal.dumps(compile(source, "harness_tasks", "exec", dont_inherit=True))
    return marshal.dumps((MAGIC_NUMBER, code, source), _EVERYWHERE)


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
