"""What a machine says of itself."""

from __future__ import annotations

import os
import sys
from typing import Any

NEEDED = (3, 11)
"""The Python that nodes and their tools may need; the agent itself makes do with less."""


def facts(folder: str) -> dict[str, Any]:
    """`folder` tells which file system's free space is meant, be it there already or yet to be made."""
    while not os.path.isdir(folder) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
    uname, disk = os.uname(), os.statvfs(folder)
    return {
        "hostname": uname.nodename,
        "system": uname.sysname,
        "kernel": uname.release,
        "architecture": uname.machine,
        "python": version(),
        "cpus": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "free_disk_bytes": disk.f_bavail * disk.f_frsize,
    }


def version() -> str:
    """Of the Python that runs the agent: "3.9.18"."""
    return ".".join(map(str, sys.version_info[:3]))


def python() -> str:
    """A Python that is new enough for nodes, "" where none is found."""
    if sys.version_info >= NEEDED:
        return sys.executable
    import shutil  # not at the top: it is slow to load

    newest: tuple[int, ...] = (NEEDED[0], NEEDED[1] + 8)
    names = (f"python{newest[0]}.{minor}" for minor in range(newest[1], NEEDED[1] - 1, -1))
    return next((found for found in map(shutil.which, names) if found and _works(found)), "")


def _works(python: str) -> bool:
    """Whether it is one, and not something that looks for one and finds none."""
    import subprocess  # not at the top: it is slow to load

    try:
        return subprocess.run([python, "-I", "-S", "-c", ""], stdin=subprocess.DEVNULL, timeout=10).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False
