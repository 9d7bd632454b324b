"""What processes use, as the kernel counts it. Linux only; elsewhere it is not told."""

from __future__ import annotations

import os

from .frames import Header
from .processes import HAS_PROC, look

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def usage(pid: int, start: float) -> Header:
    """CPU seconds and bytes of memory of a process and its descendants, those that it has buried included; {} when it
    is gone. Memory that they share counts in each."""
    process = look(pid)
    if not HAS_PROC or process is None or process.start != start:
        return {}
    ticks = pages = 0
    family = [pid]
    while family:
        one = family.pop()
        try:
            with open(f"/proc/{one}/stat", "rb") as file:
                fields = file.read().rpartition(b") ")[2].split()
            family += _children(one)
        except (FileNotFoundError, ProcessLookupError):
            continue
        ticks += sum(int(field) for field in fields[11:15])  # utime, stime, and those of the children it has waited for
        pages += int(fields[21])
    return {"cpu": ticks / _TICKS, "memory": pages * _PAGE}


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
        except (FileNotFoundError, ProcessLookupError):  # it has ended, or this kernel does not tell
            continue
    return found
