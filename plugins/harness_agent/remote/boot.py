"""How an agent begins: a constant command line that reads the program from a file descriptor and runs it.

The program is one zlib stream, which says itself where it ends; what comes after it are frames."""

from __future__ import annotations

import marshal
import zlib
from collections.abc import Mapping

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
    "exec(source.partition(bytes(1))[0])"
)
_LOADER = b"""
import marshal, sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import MAGIC_NUMBER

magic, *parts = marshal.loads(source.partition(bytes(1))[2])
if magic != MAGIC_NUMBER:
    parts = parts[-1:]
modules = {}

class Modules:
    def find_spec(self, name, path=None, target=None):
        is_package = name == "agent"
        return ModuleSpec(name, self, is_package=is_package) if is_package or name.startswith("agent.") else None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        name = module.__name__
        while name not in modules:
            for item in marshal.loads(zlib.decompress(parts.pop(0))).items():
                modules.setdefault(*item)
        found = modules[name]
        exec(marshal.loads(found) if type(found) is bytes else compile(found, name, "exec"), module.__dict__)

sys.meta_path.insert(0, Modules())
from agent.main import main
main(mode, fd, source, stream.unused_data)
"""
_EVERYWHERE = 2
"""The version of marshal that every Python reads."""


def program(sources: Mapping[str, str], magic: bytes, *compiled: Mapping[str, bytes]) -> bytes:
    """A loader, a zero byte, and modules by their names, in parts that are unpacked when one of their modules is first
    needed: what a Python with this magic number made of some, marshalled, which spares others of its kind the work;
    then the sources of all. The same modules give the same bytes."""
    parts = (zlib.compress(marshal.dumps(dict(sorted(part.items())), _EVERYWHERE), 9) for part in (*compiled, sources))
    return _LOADER + bytes(1) + marshal.dumps((magic, *parts), _EVERYWHERE)


def packed(source: bytes, effort: int = 1) -> bytes:
    """As the bootstrap reads it. From process to process of a machine little effort is best: 9, for those who send it
    far and keep it, takes 34 ms of CPU where 1 takes 2, for four fifths of the bytes."""
    return zlib.compress(source, effort)


def argv(python: str, how: tuple[int, str]) -> list[str]:
    """Isolated, without site, with UTF-8 whatever the locale. No value of this command line comes from outside."""
    return [python, "-I", "-S", "-X", "utf8", "-c", _BOOTSTRAP % how]
