"""Whether nodes can have a wrong clock on a machine: by libfaketime, which is loaded before the C library."""

from __future__ import annotations

from pathlib import Path

from harness.api import InfrastructureError, Machine

PLACES = (
    "/usr/lib/*/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
    "/usr/local/lib/faketime/libfaketimeMT.so.1",
)
"""Where packages put it."""
LOOK = f'for library in {" ".join(PLACES)}; do [ -e "$library" ] && exit; done; exit 1'
"""For a shell: fails where it is not."""
NO_LIBRARY = (
    "takes libfaketime, and {} has none where packages put it: install the package libfaketime there, or say where "
    "it is (its option library)"
)
"""As the end of "clock-skew needs clock, which"."""


def why_none_here() -> str:
    """Why nodes on this machine can have none, "" if they can."""
    return "" if any(any(Path("/").glob(place[1:])) for place in PLACES) else NO_LIBRARY.format("this machine")


async def why_none_on(machine: Machine) -> str:
    """The same of another one."""
    try:
        done = await machine.run(("sh", "-c", LOOK))
    except InfrastructureError as error:
        return f"takes libfaketime, which cannot be looked for: {error}"
    return "" if done.returncode == 0 else NO_LIBRARY.format("this machine")
