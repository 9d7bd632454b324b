"""What an agent held and what is left of it, by the record that it wrote. Blocking: for worker threads and the last."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from typing import NamedTuple, Sequence

from .processes import Process, boot_id, descendants, everyone, look, mark_of

LOOK_AGAIN = 0.01
"""Seconds between two looks at processes that were sent SIGKILL. They are not our children: nothing tells of their
end on every system, and this is the way out only when their agent is dead already."""


class Leftover(NamedTuple):
    """A process that still is there. `name` is what it was spawned as."""

    name: str
    pid: int
    start: float

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})"


def find(record: str | os.PathLike[str]) -> list[Leftover]:
    """The living processes of a record: those with a recorded pid and start time, those that carry the mark of a
    recorded agent, and their descendants. Of an earlier boot none can be living."""
    held, marks = _read(os.fspath(record))
    if not held:
        return []
    processes = [process for process in everyone() if process.alive]
    names = {process.pid: held[known] for process in processes if (known := (process.pid, process.start)) in held}
    for process in processes:
        if process.pid not in names and mark_of(process.pid).rpartition(":")[0] in marks:
            names[process.pid] = "what a node started"
    for process in descendants(names, processes):
        names.setdefault(process.pid, "what a node started")
    return [Leftover(names[process.pid], process.pid, process.start) for process in processes if process.pid in names]


def end(record: str | os.PathLike[str], patience: float) -> tuple[list[Leftover], list[Leftover]]:
    """SIGKILL what is left of a record: who was killed, and who of them is still there after `patience` seconds."""
    give_up = time.monotonic() + patience
    killed: dict[int, Leftover] = {}
    while left := [leftover for leftover in find(record) if leftover.pid != os.getpid()]:
        for leftover in left:
            killed.setdefault(leftover.pid, leftover)
            kill(leftover.pid, leftover.start)
        if time.monotonic() >= give_up:
            break
        time.sleep(LOOK_AGAIN)
    return list(killed.values()), left


def kill(pid: int, start: float) -> None:
    """SIGKILL to this process and no other."""
    process = look(pid)
    if process is not None and process.start == start:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # what we may not kill is found again
            os.kill(pid, signal.SIGKILL)


def await_end(process: Process) -> None:
    """Return when this process, which is ending, has ended: a zombie has let go of all that it had."""
    while (now := look(process.pid)) is not None and now.start == process.start and now.alive:
        time.sleep(LOOK_AGAIN)


def _read(record: str) -> tuple[dict[tuple[int, float], str], Sequence[str]]:
    """Names by pid and start time, and the marks of the agents, of this boot only."""
    held: dict[tuple[int, float], str] = {}
    marks: list[str] = []
    boot = ""
    try:
        with open(record, errors="replace") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return held, marks
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # torn by the death of the writer
        if "agent" in entry:
            boot = entry["boot"]
            entry = {**entry, "pid": entry["agent"], "name": "the agent"}
            if boot == boot_id():
                marks.append(f"{entry['pid']}:{entry['start']:.0f}")
        if boot == boot_id():
            held[entry["pid"], entry["start"]] = entry["name"]
    return held, marks
