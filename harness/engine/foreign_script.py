"""Runs on machines, by their own Python (3.9 or newer), standard library only; see harness.engine.foreign.

look PID_FILE                 → {"pid", "start", "why"}   the process that the file names; pid null: there is none
state PID                     → {"state"}                 its state (proc(5)), "" where there is none
signal PID START NUMBER       → {}                        to just that process; an error where it is gone

Exits with 13 where that is not allowed."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path


def stat(pid: int) -> tuple[str, str]:
    """State and start time, in clock ticks since boot (proc(5), fields 3 and 22); "" where there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return "", ""
    fields = text.rpartition(")")[2].split()  # the name before may hold blanks and parentheses
    return ("", "") if fields[0] in "ZXx" else (fields[0], fields[19])


def look(path: str) -> dict[str, object]:
    try:
        with Path(path).open(encoding="ascii", errors="replace") as file:
            text = file.read(64).strip()
    except FileNotFoundError:
        return {"pid": None, "start": "", "why": "there is no such file"}
    if not text.isdigit() or not 0 < int(text) < 1 << 22:
        return {"pid": None, "start": "", "why": "there is no pid in it"}
    start = stat(int(text))[1]
    if not start:
        return {"pid": None, "start": "", "why": f"process {text}, which it names, is gone"}
    return {"pid": int(text), "start": start, "why": ""}


def send(pid: int, start: str, number: int) -> dict[str, object]:
    descriptor = os.pidfd_open(pid)
    if stat(pid)[1] != start:
        raise ProcessLookupError(f"process {pid} is another one now")
    signal.pidfd_send_signal(descriptor, number)
    return {}


def main(do: str, *words: str) -> int:
    try:
        if do == "look":
            told = look(*words)
        elif do == "state":
            told = {"state": stat(int(words[0]))[0]}
        else:
            told = send(int(words[0]), words[1], int(words[2]))
    except PermissionError as error:
        sys.stderr.write(f"{error}\n")
        return 13
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps(told) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
