"""The remote program as bytes, and the command line that receives it."""

from __future__ import annotations

import ast
import marshal
import re
import shlex
from functools import lru_cache
from importlib import resources
from importlib.util import MAGIC_NUMBER

from harness.api import UsageError
from harness_agent.erasure import at_once, erased
from harness_agent.remote import boot

_SAME_BYTES = 2
"""The newest version of marshal whose bytes do not depend on who else refers to an object."""
_SAFE = re.compile(r"[A-Za-z0-9_/][A-Za-z0-9_/.+-]*")


@lru_cache(maxsize=1)
def program() -> bytes:
    """What is sent to a machine before anything else."""
    package = resources.files("harness_agent.remote")
    files = [entry for entry in package.iterdir() if entry.name.endswith(".py")]
    modules = erased({entry.name.removesuffix(".py"): entry.read_text("utf-8") for entry in files})
    names = {module: "agent" if module == "__init__" else f"agent.{module}" for module in modules}
    sources = {name: ast.unparse(modules[module]) for module, name in names.items()}
    compiled = {
        names[module]: marshal.dumps(compile(modules[module], names[module], "exec", dont_inherit=True), _SAME_BYTES)
        for module in ("__init__", *at_once(modules, "main"))
    }
    return boot.packed(boot.program(sources, MAGIC_NUMBER, compiled))


def command_line(python: str = "python3") -> str:
    """What the login shell of a machine is to run, so that it waits for the program. But for the interpreter, a plain
    name or path, it is the same always. Raises UsageError for an interpreter that is neither."""
    if not _SAFE.fullmatch(python):
        raise UsageError(f"{python!r} is no path of a Python interpreter that can be used")
    return f"exec {shlex.join(boot.argv(python, boot.ATTACHED))}"
