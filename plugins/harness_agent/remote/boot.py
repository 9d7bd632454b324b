"""How an agent begins: a constant command line that reads the program from a file descriptor and runs it.

The program is one zlib stream, which says itself where it ends; what comes after it are frames."""

from __future__ import annotations

import zlib

ATTACHED = (0, "attached")
"""Serves its stdin and stdout, and ends all that it started at their end."""
ROOT = (1, "attached")
"""The same on the socket that is its stdout: its stdin was sudo's, for the password."""
KEEPER = (0, "keeper")
"""Reads what it is to keep from stdin and lets go of it."""

_BOOTSTRAP = (
    "import os,sys,zlib;"
    'fd,mode=%d,"%s";'
    "stream=zlib.decompressobj();"
    'source=b"".join(stream.decompress(os.read(fd,65536)or sys.exit(2))for _ in iter(lambda:stream.eof,True));'
    "exec(source)"
)
_LOADER = """
import sys
from importlib.machinery import ModuleSpec

class Modules:
    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self, is_package=name == "agent") if name in MODULES else None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        exec(compile(MODULES[module.__name__], module.__name__, "exec"), module.__dict__)

    def get_source(self, name):
        return MODULES[name]

sys.meta_path.append(Modules())
from agent.main import main
main(mode, fd, source, stream.unused_data)
"""


def program(modules: dict[str, str]) -> bytes:
    """The program's source, from those of its modules by name. The same modules give the same bytes."""
    return f"MODULES = {dict(sorted(modules.items()))!r}{_LOADER}".encode()


def packed(source: bytes) -> bytes:
    """As the bootstrap reads it."""
    return zlib.compress(source, 9)


def argv(python: str, how: tuple[int, str]) -> list[str]:
    """Isolated, without site, with UTF-8 whatever the locale. No value of this command line comes from outside."""
    return [python, "-I", "-S", "-X", "utf8", "-c", _BOOTSTRAP % how]
