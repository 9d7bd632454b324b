"""Control groups of units: who is in one, and standing still as one (cgroups(7), `cgroup.freeze`)."""

from __future__ import annotations

import os

from .processes import everyone

_ROOTS = ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")


def freezer(pid: int, unit: str) -> str:
    """The folder of the unit's own group where it can be frozen, "" where it cannot: then signals have to do."""
    for line in _groups(pid):
        number, _, path = line.split(":", 2)
        if number == "0" and os.path.basename(path) == unit:
            folders = (f"{root}{path}" for root in _ROOTS)
            return next((f for f in folders if os.access(f"{f}/cgroup.freeze", os.W_OK)), "")
    return ""


def freeze(folder: str, frozen: bool) -> None:
    """Raises OSError."""
    with open(f"{folder}/cgroup.freeze", "w") as file:
        file.write("1" if frozen else "0")


def is_frozen(folder: str) -> bool:
    """Whether all of it stands still by now."""
    try:
        with open(f"{folder}/cgroup.events") as file:
            return "frozen 1" in file.read().splitlines()
    except OSError:
        return False


def members(unit: str) -> list[int]:
    """The processes of a unit."""
    return [process.pid for process in everyone() if process.alive and _is_in(process.pid, unit)]


def _is_in(pid: int, unit: str) -> bool:
    return any(unit in line.split(":", 2)[2].split("/") for line in _groups(pid))


def _groups(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/cgroup") as file:
            return file.read().splitlines()
    except OSError:
        return []
