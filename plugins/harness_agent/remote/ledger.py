"""What was done to a machine and how it is undone: written and synced before it is done."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import Any, Callable, Sequence

from .frames import Header
from .processes import kill_group
from .users import User

UNDO_WITHIN = 30.0
"""Seconds that one command may take to undo something."""
_SAID = 300

Audit = Callable[[Header], None]


class Ledger:
    """A file of JSON lines, appended to: entries, and which of them are healed."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._entries: dict[str, Header] = {}
        if os.path.exists(path):
            with open(path, "rb") as file:
                for line in file:
                    self._read(line)

    def entries(self) -> Sequence[Header]:
        """Those that are not healed, oldest first."""
        return list(self._entries.values())

    def add(self, entry: str, what: str, undo: Sequence[Header]) -> None:
        """Synced to the disk when it returns; a repeated one replaces the first. Raises OSError."""
        self._append({"entry": entry, "what": what, "undo": undo})

    def remove(self, entry: str) -> None:
        if entry in self._entries:
            self._append({"healed": entry})

    def _append(self, line: Header) -> None:
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, json.dumps(line).encode() + b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)
        self._take(line)

    def _read(self, line: bytes) -> None:
        try:
            self._take(json.loads(line))
        except ValueError:
            return  # torn by the death of its writer, who had not been told yet that it is there

    def _take(self, line: Header) -> None:
        if "healed" in line:
            self._entries.pop(line["healed"], None)
        else:
            self._entries[line["entry"]] = line


def undo_all(ledger: Ledger, user: User, root: User | None, audit: Audit) -> tuple[list[str], list[str]]:
    """Undo everything, newest first: what was undone, and what could not be. Blocking."""
    done: list[str] = []
    left: list[str] = []
    for entry in reversed(ledger.entries()):
        problem = ""
        for step in entry["undo"]:
            problem = _undo(step, user, root, audit)
            if problem:
                break
        name = entry["what"] or entry["entry"]
        if problem:
            left.append(f"{name}: not undone: {problem}")
        else:
            ledger.remove(entry["entry"])
            done.append(f"undone: {name}")
    return done, left


def _undo(step: Header, user: User, root: User | None, audit: Audit) -> str:
    """Why it failed, "" if it did not."""
    doer = root if step["become"] else user
    if doer is None:
        return f"{step['argv'][0]} needs root"
    status, said, error = run(step["argv"], doer, audit, step["become"])
    if status == 0:
        return ""
    return error or f"{step['argv'][0]} ended with status {status}{said and ': '}{said}"


def run(argv: Sequence[str], user: User, audit: Audit, become: bool) -> tuple[int | None, str, str]:
    """Run a command of our own to its end: its status, what it said, and why it has no status. Blocking."""
    from .children import drop_to

    began = time.monotonic()
    status: int | None = None
    said, error = b"", ""
    try:
        process = subprocess.Popen(
            argv,
            env=user.env,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: drop_to(user.identity),
        )
        try:
            said = process.communicate(timeout=UNDO_WITHIN)[0]
            status = process.returncode
        except subprocess.TimeoutExpired:
            kill_group(process.pid)
            process.wait()
            error = f"{argv[0]} took more than {UNDO_WITHIN:g} s"
    except (OSError, ValueError, subprocess.SubprocessError) as raised:
        error = str(raised)
    record: dict[str, Any] = {
        "argv": list(argv),
        "returncode": status,
        "seconds": time.monotonic() - began,
        "user": "root" if become else "",
        "error": error,
    }
    audit({"event": "audit", **record})
    return status, " ".join(said.decode(errors="replace").split())[-_SAID:], error
