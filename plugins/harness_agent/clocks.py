"""Whether nodes can have a wrong clock on a machine: by libfaketime, or another library that is said to be there, which
is loaded before the C library."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from harness.api import InfrastructureError, Machine, PlannedNode

PLACES = (
    "/usr/lib/*/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
    "/usr/local/lib/faketime/libfaketimeMT.so.1",
)
"""Where packages put it."""
LOOK = f'for library in {" ".join(PLACES)}; do [ -e "$library" ] && exit; done; exit 1'
"""For a shell: fails where it is not."""
ELF64 = b"\x7fELF\x02"
"""How each 64 bit program and library begins."""
EXAMINE = """for library; do
if [ ! -e "$library" ]; then echo absent
elif [ ! -f "$library" ] || [ ! -r "$library" ]; then echo unreadable
elif ! magic=$(head -c 5 "$library" | od -A n -t x1 | tr -d ' \\n') || [ -z "$magic" ]; then echo unknown
elif [ "$magic" != 7f454c4602 ]; then echo other
else echo good
fi >&2; done"""
"""For a shell, with libraries' paths as its arguments: says of each what it is, to stderr."""
UNUSABLE = {
    "absent": "there is no {} {}: install the package libfaketime there, or say where its library is (option library)",
    "unreadable": "{} {} is no file that can be read",
    "other": "{} {} is no 64 bit library, which is what processes can load before the C library",
}
THIS = "this machine"
HERE = f"on {THIS}"
NO_LIBRARY = (
    "takes libfaketime, and {} has none where packages put it: install the package libfaketime there, or say where "
    "it is (its option library)"
)
"""As the end of "clock-skew needs clock, which"."""


def why_none_here() -> str:
    """Why nodes on this machine can have none, "" if they can."""
    return "" if any(any(Path("/").glob(place[1:])) for place in PLACES) else NO_LIBRARY.format(THIS)


async def why_none_on(machine: Machine) -> str:
    """The same of another one."""
    try:
        done = await machine.run(("sh", "-c", LOOK))
    except InfrastructureError as error:
        return f"takes libfaketime, which cannot be looked for: {error}"
    return "" if done.returncode == 0 else NO_LIBRARY.format(THIS)


def wanted(nodes: Iterable[PlannedNode], host: str = "") -> Sequence[str]:
    """All libraries that these nodes, those of one host or of all, are to load."""
    return sorted(frozenset[str]().union(*(node.libraries for node in nodes if host in ("", node.host.name))))


def examination(libraries: Sequence[str]) -> Sequence[str]:
    """The command that looks at libraries where nodes run; `unusable` reads what it says to stderr."""
    return ("sh", "-c", EXAMINE, "sh", *libraries)


def unusable(libraries: Sequence[str], said: bytes, where: str) -> Mapping[str, str]:
    """Those of them that no process there can load, each with the reason; nothing of those that could not be told."""
    words = said.decode(errors="replace").split()
    if len(words) != len(libraries):
        return {}
    return {
        path: UNUSABLE[word].format(path, where)
        for path, word in zip(libraries, words, strict=True)
        if word in UNUSABLE
    }


def unusable_here(libraries: Sequence[str]) -> Mapping[str, str]:
    """The same of this machine."""
    found = {path: _what_is(Path(path)) for path in libraries}
    return {path: UNUSABLE[what].format(path, HERE) for path, what in found.items() if what in UNUSABLE}


async def unusable_on(machine: Machine, libraries: Sequence[str]) -> Mapping[str, str]:
    """The same of another one; nothing where it does not answer, which others tell of."""
    if not libraries:
        return {}
    try:
        done = await machine.run(examination(libraries))
    except InfrastructureError:
        return {}
    return unusable(libraries, done.stderr, HERE)


def _what_is(library: Path) -> str:
    try:
        if not library.exists():
            return "absent"
        with library.open("rb") as file:
            return "good" if file.read(len(ELF64)) == ELF64 else "other"
    except OSError:
        return "unreadable"
