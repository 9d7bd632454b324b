"""Busy processes on a machine: run there by its own Python, standard library only.

    … '["apart", PID]'                 → whether that process is in another control group than this one
    … '["work", TOKEN, WORKERS, PID]'  works, with so many processes, until it is killed: as root in the control group
                                       and as the user of that process, with PID 0 where and as whom it was started
    … '["look", TOKEN, PID]'           → [[pid, start, CPU seconds, CPU seconds a second later, whether it is in the
                                       control groups of that process], …] of those that work
    … '["stop", TOKEN]'                → how many of them were killed

They are found by the TOKEN in their arguments, which no other process in the world has, and killed by pid and start."""

import json
import os
import signal
import sys
import time
from typing import Any, Dict  # noqa: UP035 - machines may have an old Python


def stat(pid: int) -> "tuple[int, float] | None":
    """When a process started (clock ticks since boot) and its CPU seconds; None: it is gone, or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    if fields[0] in (b"Z", b"X"):
        return None
    return int(fields[19]), (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def workers(token: str) -> "dict[tuple[int, int], float]":
    """(pid, start) → CPU seconds."""
    request, found = f'["work", "{token}"'.encode(), {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    ours = request in file.read()
            except OSError:
                continue
            now = stat(int(name)) if ours else None
            if now is not None:
                found[int(name), now[0]] = now[1]
    return found


def groups(pid: "int | str") -> "list[str]":
    try:
        with open(f"/proc/{pid}/cgroup") as file:
            return file.read().splitlines()
    except OSError:
        return []


def apart(pid: int) -> bool:
    theirs = groups(pid)
    return bool(theirs) and theirs != groups("self")


def join(pid: int) -> None:
    """Be limited, and counted, as that process is, in each hierarchy that can be written here; then be no more than it.
    A later look says how far that went."""
    owner, ours = os.stat(f"/proc/{pid}"), groups("self")
    for line in groups(pid):
        if line in ours:
            continue
        _, controllers, path = line.split(":", 2)
        for root in (f"/sys/fs/cgroup/{controllers.replace('name=', '')}", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"):
            procs = f"{root}{path}/cgroup.procs"
            try:
                with open(procs, "w") as file:
                    file.write(str(os.getpid()))
                break
            except OSError:
                continue
    os.setgroups([])
    os.setgid(owner.st_gid)
    os.setuid(owner.st_uid)


def work(token: str, number: int, pid: int) -> None:
    if pid:
        join(pid)
    for _ in range(number - 1):
        if os.fork() == 0:
            break
    while True:
        sum(range(10_000))


def look(token: str, pid: int) -> "list[tuple[int, int, float, float, bool]]":
    before = workers(token)
    time.sleep(1.0)
    after, theirs = workers(token), groups(pid)
    return [(*worker, before.get(worker, 0.0), used, groups(worker[0]) == theirs) for worker, used in after.items()]


def stop(token: str) -> int:
    killed = 0
    for pid, start in workers(token):
        now = stat(pid)
        if now is not None and now[0] == start:
            os.kill(pid, signal.SIGKILL)
            killed += 1
    return killed


def main() -> None:
    command, *arguments = json.loads(sys.argv[1])
    commands: Dict[str, Any] = {"apart": apart, "work": work, "look": look, "stop": stop}  # noqa: UP006
    sys.stdout.write(json.dumps(commands[command](*arguments)))


if __name__ == "__main__":
    main()
