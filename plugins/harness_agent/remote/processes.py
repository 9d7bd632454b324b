"""What the kernel says of processes. One is identified by pid *and* start time; nothing is looked for by name."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

from .light import suppress
from .signals import SIGKILL

MARK = "HARNESS_SUPERVISED"
"""The variable in the environment of all that an agent starts, inherited by its descendants: "AGENT:ITS_START:CHILD".
By it they are found even when their agent is dead."""
HAS_PROC = os.path.exists("/proc/self/stat")


class Process:
    """`start` is when it started: on Linux in clock ticks since boot (proc(5), field 22 of stat), elsewhere in Unix
    seconds."""

    __slots__ = ("parent", "pid", "session", "start", "state")

    def __init__(self, pid: int, parent: int, session: int, state: str, start: float) -> None:
        self.pid, self.parent, self.session, self.state, self.start = pid, parent, session, state, start

    @property
    def alive(self) -> bool:
        """Whether it still runs or could: not a zombie."""
        return self.state[0] not in "ZXx"

    @property
    def stopped(self) -> bool:
        return self.state[0] == "T"


def look(pid: int) -> Process | None:
    """The process with this pid, None where there is none."""
    if not HAS_PROC:
        return next(iter(_ps("-p", str(pid))), None)
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        return None
    try:
        stat = os.read(fd, 4096)
    except ProcessLookupError:
        return None
    finally:
        os.close(fd)
    fields = stat[stat.rindex(b")") + 2 :].split()  # the name before may hold blanks and parentheses
    return Process(pid, int(fields[1]), int(fields[3]), fields[0].decode(), float(fields[19]))


def everyone() -> list[Process]:
    """All processes of this machine."""
    if not HAS_PROC:
        return _ps("-ax")
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [process for process in map(look, pids) if process is not None]


def _ps(*which: str) -> list[Process]:
    """Process groups stand in for sessions: ps has no session ids on macOS, and every child leads both."""
    import subprocess  # not at the top: it is slow to load

    command = ["ps", *which, "-o", "pid=,ppid=,pgid=,state=,lstart="]
    output = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}).stdout
    rows = (line.split(None, 4) for line in output.splitlines())
    return [
        Process(int(pid), int(parent), int(group), state, time.mktime(time.strptime(start.strip())))
        for pid, parent, group, state, start in rows
    ]


def descendants(ancestors: Iterable[int], processes: Iterable[Process]) -> list[Process]:
    """Those of `processes` that descend from one of `ancestors`."""
    children: dict[int, list[Process]] = {}
    for process in processes:
        children.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    parents = list(ancestors)
    while parents:
        born = children.pop(parents.pop(), [])
        found += born
        parents += [process.pid for process in born]
    return found


def mark_of(pid: int) -> str:
    """The mark in a process's environment, "" where it has none or may not be looked at."""
    try:
        environment = _environment(pid)
    except OSError:
        return ""
    prefix = MARK.encode() + b"="
    entries = environment.split(b"\0")
    return next((entry[len(prefix) :].decode(errors="replace") for entry in entries if entry.startswith(prefix)), "")


def _environment(pid: int) -> bytes:
    """As it was when its program began. To root without CAP_SYS_PTRACE, as in most containers, other users' processes
    show theirs no more than to anybody (ptrace(2), "access mode checking"): then it is asked for as its own user."""
    path = f"/proc/{pid}/environ"
    try:
        with open(path, "rb") as file:
            return file.read()
    except PermissionError:
        if os.geteuid() != 0:
            raise
    owner = os.stat(f"/proc/{pid}")
    import ctypes  # not at the top: it is slow to load

    libc = ctypes.CDLL(None)  # setfsuid(2) concerns this thread alone, and files alone
    libc.setfsgid(owner.st_gid)
    libc.setfsuid(owner.st_uid)
    try:
        with open(path, "rb") as file:
            return file.read()
    finally:
        libc.setfsuid(os.geteuid())
        libc.setfsgid(os.getegid())


def boot_id() -> str:
    """Which boot this is: pids and start times mean nothing in another. "" where start times are absolute."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


def kill(pid: int) -> bool:
    """SIGKILL to a child or descendant; whether there was one that may be killed (a zombie counts)."""
    try:
        os.kill(pid, SIGKILL)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def kill_group(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # macOS: EPERM where only zombies are left
        os.killpg(group, SIGKILL)


def exit_of(status: int) -> dict[str, int | None]:
    """A wait status as `code` or `signal`."""
    if os.WIFSIGNALED(status):
        return {"code": None, "signal": os.WTERMSIG(status)}
    return {"code": os.WEXITSTATUS(status), "signal": None}
