"""Which process controls a run, told apart from any later process that got the same pid."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Owner:
    """A process: its pid, when the kernel started it, in which boot of which host. `start` and `boot` are text to
    be compared, nothing else: on Linux clock ticks since boot (proc(5), field 22 of stat) and the boot id."""

    pid: int
    start: str
    boot: str
    host: str

    @classmethod
    def current(cls) -> Owner:
        """This process."""
        pid = os.getpid()
        return cls(pid, _start_time(pid) or "", _boot_id(), socket.gethostname())

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Owner:
        """Raises KeyError, ValueError or TypeError for anything that is not one."""
        return cls(int(data["pid"]), str(data["start"]), str(data["boot"]), str(data["host"]))

    @property
    def is_local(self) -> bool:
        """Whether it can be looked at from here."""
        return self.host == socket.gethostname()

    def is_alive(self) -> bool:
        """Whether it still runs (a zombie does not). Of a process on another host this says False: see `is_local`."""
        return self.is_local and self.boot == _boot_id() and self.start == _start_time(self.pid)


def _boot_id() -> str:
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else ""


def _start_time(pid: int) -> str | None:
    """When the process was started; None when there is none, or only what its parent has not yet collected."""
    if not Path("/proc/self/stat").exists():
        return _start_time_from_ps(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = stat[stat.rindex(b")") + 2 :].split()  # the name before may hold blanks and parentheses
    return None if state in (b"Z", b"X") else fields[18].decode()


def _start_time_from_ps(pid: int) -> str | None:
    """For systems without /proc (macOS)."""
    command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    state, _, start = subprocess.run(command, capture_output=True, text=True).stdout.strip().partition(" ")
    return start.strip() if state and not state.startswith("Z") else None
