"""The remote program as bytes, and the command line that receives it."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import marshal
import re
import secrets
import shlex
import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import MAGIC_NUMBER, cache_from_source
from pathlib import Path

from harness.api import UsageError
from harness_agent.erasure import at_once, erased
from harness_agent.remote import boot

_SAME_BYTES = 2
"""The newest version of marshal whose bytes do not depend on who else refers to an object."""
_PARTS = (("main", "prctl"), ("lease",), ("keeping",))
"""Modules that most machines need, and with them what they import: for commands, to be had alone, to keep a run. That
a machine need not compile them saves a keeper 25 ms of CPU of 110, and costs 40 KB on the way; that it need not even
unpack what it has no use for saves others 2 ms of 16."""
_SAFE = re.compile(r"[A-Za-z0-9_/][A-Za-z0-9_/.+-]*")


@lru_cache(maxsize=1)
def program() -> bytes:
    """What is sent to a machine before anything else. To make it takes longer than to reach many machines, so that it
    is kept as Python keeps byte code: where that is kept, if anywhere, and until what it is made of changes."""
    here = Path(__file__).parent
    files = sorted((here / "remote").glob("*.py"))
    made_of = [*files, here / "bundle.py", here / "erasure.py"]
    digest = hashlib.sha256(sys.version.encode())
    for file in made_of:
        digest.update(b"%d %s " % (file.stat().st_size, file.name.encode()) + file.read_bytes())
    kept = Path(cache_from_source(str(here / "program.py")))
    with contextlib.suppress(OSError):
        content = kept.read_bytes()
        made = content[2 * digest.digest_size :]
        if content == _sealed(digest.digest(), made):
            return made
    made = _made({file.stem: file.read_text("utf-8") for file in files})
    if not sys.dont_write_bytecode:
        with contextlib.suppress(OSError):  # an installation that is not ours to write to
            _keep(kept, _sealed(digest.digest(), made))
    return made


def _sealed(sources: bytes, made: bytes) -> bytes:
    """As it is kept: what it was made of, and what it was when it was whole. Machines run what is sent to them."""
    return sources + hashlib.sha256(made).digest() + made


def _made(sources: Mapping[str, str]) -> bytes:
    modules = erased(sources)
    names = {module: "agent" if module == "__init__" else f"agent.{module}" for module in modules}
    unparsed = {name: ast.unparse(modules[module]) for module, name in names.items()}
    parts: list[dict[str, bytes]] = []
    for starts in _PARTS:
        wanted = {names[module]: module for module in ("__init__", *at_once(modules, *starts))}
        new = wanted.keys() - {name for part in parts for name in part}
        parts.append({name: _compiled(modules[wanted[name]], name) for name in new})
    return boot.packed(boot.program(unparsed, MAGIC_NUMBER, *parts), effort=9)


def _compiled(module: ast.Module, name: str) -> bytes:
    return marshal.dumps(compile(module, name, "exec", dont_inherit=True), _SAME_BYTES)


def _keep(path: Path, content: bytes) -> None:
    """Whole or not at all: several may do so at once. Raises OSError."""
    new = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.write_bytes(content)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def command_line(python: str = "python3") -> str:
    """What the login shell of a machine is to run, so that it waits for the program. But for the interpreter, a plain
    name or path, it is the same always. Raises UsageError for an interpreter that is neither."""
    if not _SAFE.fullmatch(python):
        raise UsageError(f"{python!r} is no path of a Python interpreter that can be used")
    return f"exec {shlex.join(boot.argv(python, boot.ATTACHED))}"
