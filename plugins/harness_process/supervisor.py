"""The process that holds a run's processes, and takes them with it when it goes. Standard library only, one file.

    python -I -S supervisor.py RECORD [--lease SECONDS]

Whoever started it talks to it in JSON lines: requests on its stdin, answers and events on its stdout.

    {"id": 1, "do": "spawn", "service": 1, "name", "argv", "env", "cwd", "stdin", "stdout", "stderr", "attach"}
                                                  → {"id": 1, "pid", "start"}
    {"id": 2, "do": "signal", "service": 1, "number": 15}  → {"id": 2}      the whole process group; nothing if it ended
    {"id": 3, "do": "tell", "service": 1, "line": "…"}     → {"id": 3}      to an attached one's stdin
    {"id": 4, "do": "renew"}                               → {"id": 4}      any request renews the lease
    → {"exit": 1, "code", "signal", "at"}     → {"said": 1, "line": "…"}    an attached one's stdout

A refused request is answered {"id", "error"}. When stdin ends (its other end was closed, or died with its process),
when the lease is over, or on SIGTERM, SIGINT or SIGHUP, everything held is killed and the supervisor leaves.

How nothing escapes on Linux: each child gets SIGKILL from the kernel when the supervisor dies (PR_SET_PDEATHSIG);
the supervisor is the reaper of all its descendants (PR_SET_CHILD_SUBREAPER), so that one which forks twice and takes
a session of its own comes back as a child. Thus "I have no child left" is the kernel's proof that all are gone.
Elsewhere (macOS) process groups and the tree of parents are all there is to go by.

A process is identified by pid *and* start time. Each child's environment carries a mark, which its descendants inherit,
"SUPERVISOR:ITS_START:SERVICE": by it they are found even when their supervisor is dead. RECORD (JSON lines, appended)
says who the supervisor was and what it held."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

MARK = "HARNESS_SUPERVISED"
HAS_PROC = Path("/proc/self/stat").exists()
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT
_TELL_TIMEOUT = 2.0
"""Seconds that an attached process may take to read what it is told, should its socket be full."""


class Process(NamedTuple):
    """What the kernel says of a process. `start` is when it started: on Linux in clock ticks since boot
    (proc(5), field 22 of stat), elsewhere in Unix seconds."""

    pid: int
    parent: int
    session: int
    state: str
    start: float

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
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat[stat.rindex(")") + 2 :].split()  # the name before may hold blanks and parentheses
    return Process(pid, int(fields[1]), int(fields[3]), fields[0], float(fields[19]))


def everyone() -> list[Process]:
    """All processes of this machine."""
    if not HAS_PROC:
        return _ps("-ax")
    with os.scandir("/proc") as entries:
        pids = [int(entry.name) for entry in entries if entry.name.isdigit()]
    return [process for process in map(look, pids) if process is not None]


def _ps(*which: str) -> list[Process]:
    """Process groups stand in for sessions: ps has no session ids on macOS, and every child leads both."""
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
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return ""
    prefix = MARK.encode() + b"="
    return next((entry[len(prefix) :].decode() for entry in environment.split(b"\0") if entry.startswith(prefix)), "")


def boot_id() -> str:
    """Which boot this is: pids and start times mean nothing in another. "" where start times are absolute."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else ""


class _Child:
    """A process that was asked for. `exit` is how it ended, told once nothing of it is left."""

    def __init__(self, service: int, mark: str, process: subprocess.Popen[bytes], channel: socket.socket | None):
        self.service = service
        self.mark = mark
        self.pid = process.pid
        self.process = process
        self.channel = channel
        self.exit: dict[str, Any] = {}
        self.remains: set[int] = set()  # those of its descendants that were left to us, killed, not yet collected
        self._heard = b""

    def ended(self, status: int) -> None:
        code = os.waitstatus_to_exitcode(status)
        self.process.returncode = code  # we collected it: Popen must not wait for this pid any more
        self.exit = {
            "exit": self.service,
            "code": code if code >= 0 else None,
            "signal": -code if code < 0 else None,
            "at": time.time(),
        }

    def lines(self) -> list[str] | None:
        """What it has said on its channel since the last time; None at the end."""
        assert self.channel is not None
        try:
            heard = self.channel.recv(65536)
        except ConnectionResetError:
            heard = b""
        *lines, self._heard = (self._heard + heard).split(b"\n")
        return [line.decode(errors="replace") for line in lines] if heard else None


class Supervisor:
    """Spawns, signals, reaps and reports, woken by requests, signals and the end of the lease alone."""

    def __init__(self, record: Path, lease: float | None) -> None:
        self._lease = lease
        self._expires = time.monotonic() + (lease or 0.0)
        self._ending = False
        self._leaders: dict[int, _Child] = {}  # by pid, until they are collected
        self._leaving: list[_Child] = []  # collected, but not yet all their descendants
        self._requests = b""
        self._does: dict[str, Callable[..., dict[str, Any]]] = {
            "spawn": self._spawn,
            "signal": self._signal,
            "tell": self._tell,
            "renew": dict,  # hearing it was all
        }
        self._selector = selectors.DefaultSelector()
        self._selector.register(0, selectors.EVENT_READ, self._hear)
        self._wakeup = _signals_to_pipe(self._end)
        self._selector.register(self._wakeup, selectors.EVENT_READ, self._woken)
        self._libc = ctypes.CDLL(None) if sys.platform == "linux" else None
        if self._libc is not None:
            self._libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._pid = os.getpid()
        me = look(self._pid)
        assert me is not None
        self._mark = f"{me.pid}:{me.start:.0f}"
        self._record = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._note({"supervisor": me.pid, "start": me.start, "boot": boot_id()})

    def serve(self) -> None:
        """Until there is nobody left to serve; then end everything."""
        try:
            while not self._ending:
                ready = self._selector.select(None if self._lease is None else self._expires - time.monotonic())
                for key, _ in ready:
                    key.data()
                if self._lease is not None and time.monotonic() >= self._expires:
                    self._ending = True
        finally:
            self._end_all()

    def _end(self) -> None:
        self._ending = True

    def _woken(self) -> None:
        os.read(self._wakeup, 4096)
        with contextlib.suppress(ChildProcessError):
            while self._collect(os.WNOHANG):
                pass
        self._settle()

    def _hear(self) -> None:
        heard = os.read(0, 65536)
        if not heard:
            self._ending = True
            return
        *lines, self._requests = (self._requests + heard).split(b"\n")
        for line in lines:
            self._expires = time.monotonic() + (self._lease or 0.0)
            request = json.loads(line)
            number, do = request.pop("id"), self._does[request.pop("do")]
            try:
                self._say({"id": number, **do(**request)})
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                self._say({"id": number, "error": str(error)})

    def _say(self, message: dict[str, Any]) -> None:
        line = json.dumps(message).encode() + b"\n"
        try:
            while line:
                line = line[os.write(1, line) :]
        except BrokenPipeError:
            self._ending = True

    def _note(self, entry: dict[str, Any]) -> None:
        os.write(self._record, json.dumps(entry).encode() + b"\n")

    def _spawn(
        self,
        *,
        service: int,
        name: str,
        argv: list[str],
        env: dict[str, str],
        cwd: str,
        stdin: str | None,
        stdout: str,
        stderr: str | None,
        attach: bool,
    ) -> dict[str, Any]:
        """Files are appended to; without `stderr` it goes where stdout goes. `attach`: stdin and stdout are a socket
        whose lines pass through the supervisor, and `stdout` gets stderr alone."""
        mark = f"{self._mark}:{service}"
        with contextlib.ExitStack() as files:
            ours, theirs = socket.socketpair() if attach else (None, None)
            if theirs is not None:
                files.callback(theirs.close)
            log = _open(files, stdout, _APPEND)
            channel = theirs.fileno() if theirs is not None else None
            try:
                process = subprocess.Popen(
                    argv,
                    env={**env, MARK: mark},
                    cwd=cwd,
                    stdin=channel or _open(files, stdin or os.devnull, os.O_RDONLY),
                    stdout=channel or log,
                    stderr=_open(files, stderr, _APPEND) if stderr else log,
                    start_new_session=True,
                    preexec_fn=self._die_with_me if self._libc is not None else None,
                )
            except BaseException:
                if ours is not None:
                    ours.close()
                raise
        child = self._leaders[process.pid] = _Child(service, mark, process, ours)
        if ours is not None:
            ours.settimeout(_TELL_TIMEOUT)
            self._selector.register(ours, selectors.EVENT_READ, partial(self._pass_on, child))
        seen = look(child.pid)  # there, even if it has ended: it is not collected yet
        start = seen.start if seen is not None else 0.0
        try:
            self._note({"pid": child.pid, "start": start, "name": name})
        except OSError:  # a full disk: what could not be found again must not run
            _kill_group(child.pid)
            raise
        return {"pid": child.pid, "start": start}

    def _die_with_me(self) -> None:
        """In the child, between fork and exec."""
        assert self._libc is not None
        self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != self._pid:  # the supervisor died before that call: nobody will send the signal
            os._exit(1)

    def _signal(self, *, service: int, number: int) -> dict[str, Any]:
        for child in self._leaders.values():
            if child.service == service:  # not collected, so its pid still is its group's, and nobody else's
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, number)
        return {}

    def _tell(self, *, service: int, line: str) -> dict[str, Any]:
        for child in self._leaders.values():
            if child.service == service and child.channel is not None:
                child.channel.sendall(line.encode() + b"\n")
                return {}
        raise ValueError(f"service {service} is not there to be told anything")

    def _collect(self, how: int) -> bool:
        """Collect one ended child; False if none has ended. Raises ChildProcessError when there is no child.

        What is left of a leader's group is killed while the uncollected leader still keeps the group's number
        from being given to anybody else (macOS has waitid only from Python 3.13 on)."""
        if hasattr(os, "waitid"):
            seen = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | how)
            if seen is None:
                return False
            if seen.si_pid in self._leaders:
                _kill_group(seen.si_pid)
            pid, status = os.waitpid(seen.si_pid, 0)
        else:
            pid, status = os.waitpid(-1, how)
            if pid in self._leaders:
                _kill_group(pid)
        child = self._leaders.pop(pid, None)
        if child is not None:
            child.ended(status)
            self._leaving.append(child)
        return pid != 0

    def _settle(self) -> None:
        """A service has ended when its leader and all that it left behind have: kill the rest, report the ended.

        Descendants whose parents are gone have become our children, so looking at these is enough: when one of
        them ends we are woken, and look again at whom it left to us."""
        if not self._leaving:
            return
        by_mark = {child.mark: child for child in self._leaving}
        by_pid = {child.pid: child for child in self._leaving}
        adopted = self._adopted()
        for child in self._leaving:
            child.remains &= adopted
        for pid in adopted.difference(*(child.remains for child in self._leaving)):
            mark = mark_of(pid)
            seen = None if mark else look(pid)
            owner = by_mark.get(mark) or (by_pid.get(seen.session) if seen is not None else None)
            if owner is not None and _kill(pid):
                owner.remains.add(pid)  # until it is collected: one that is ending shows no mark any more
        gone = [child for child in self._leaving if not child.remains]
        self._leaving = [child for child in self._leaving if child.remains]
        for child in gone:
            self._drop_channel(child)
            self._say(child.exit)

    def _pass_on(self, child: _Child) -> None:
        if child.channel is None:
            return  # dropped earlier in the same round of events
        lines = child.lines()
        if lines is None:
            self._drop_channel(child)
        for line in lines or ():
            self._say({"said": child.service, "line": line})

    def _drop_channel(self, child: _Child) -> None:
        if child.channel is not None:
            self._selector.unregister(child.channel)
            child.channel.close()
            child.channel = None

    def _adopted(self) -> set[int]:
        """Our children that we did not spawn. Only a reaper of descendants has any."""
        if self._libc is None:
            return set()
        try:
            children = {int(pid) for pid in Path(f"/proc/self/task/{self._pid}/children").read_text().split()}
        except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
            children = {process.pid for process in everyone() if process.parent == self._pid}
        return children - self._leaders.keys()

    def _end_all(self) -> None:
        """SIGKILL to everything that descends from us, again and again, until we have no child left."""
        with contextlib.suppress(ChildProcessError):
            while True:
                for pid in self._leaders:
                    _kill_group(pid)
                if not [process for process in descendants([self._pid], everyone()) if _kill(process.pid)]:
                    break  # none left, or none that we may kill: whoever verifies will name it
                self._collect(0)
                while self._collect(os.WNOHANG):
                    pass
        self._settle()


def _open(files: contextlib.ExitStack, path: str, flags: int) -> int:
    if flags & os.O_CREAT:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o644)
    files.callback(os.close, descriptor)
    return descriptor


def _kill(pid: int) -> bool:
    """SIGKILL to a child or descendant; whether there was one that may be killed (a zombie counts)."""
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM where only zombies are left
        os.killpg(group, signal.SIGKILL)


def _signals_to_pipe(end: Callable[[], None]) -> int:
    """Have signals wake a pipe; returns its reading end. None stays ignored or blocked, as children inherit that."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals():
        if number not in (signal.SIGPIPE, signal.SIGXFSZ) and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)  # those two Popen restores
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: end())
    return reading


def main() -> None:
    parser = argparse.ArgumentParser(description="Holds the processes of a harness run.")
    parser.add_argument("record", type=Path)
    parser.add_argument("--lease", type=float, metavar="SECONDS", help="end everything when not renewed for so long")
    arguments = parser.parse_args()
    Supervisor(arguments.record, arguments.lease).serve()


if __name__ == "__main__":
    main()
