"""The remote program as bytes, and the command line that receives it."""

from __future__ import annotations

import re
import shlex
from functools import lru_cache
from importlib import resources

from harness.api import UsageError
from harness_agent.remote import boot

_SAFE = re.compile(r"[A-Za-z0-9_/][A-Za-z0-9_/.+-]*")


@lru_cache(maxsize=1)
def program() -> bytes:
    """What is sent to a machine before anything else."""
    package = resources.files("harness_agent.remote")
    modules = {
        "agent" if entry.name == "__init__.py" else f"agent.{entry.name[:-3]}": entry.read_text("utf-8")
        for entry in package.iterdir()
        if entry.name.endswith(".py")
    }
    return boot.packed(boot.program(modules))


def command_line(python: str = "python3") -> str:
    """What the login shell of a machine is to run, so that it waits for the program. But for the interpreter, a plain
    name or path, it is the same always. Raises UsageError for an interpreter that is neither."""
    if not _SAFE.fullmatch(python):
        raise UsageError(f"{python!r} is no path of a Python interpreter that can be used")
    return f"exec {shlex.join(boot.argv(python, boot.ATTACHED))}"
