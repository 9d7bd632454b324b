"""The processes that an agent started: spawned, collected, and ended together with all that descends from them.

How nothing escapes on Linux: each child gets SIGKILL from the kernel when the agent dies (PR_SET_PDEATHSIG); the agent
is the reaper of all its descendants (PR_SET_CHILD_SUBREAPER), so that one which forks twice and takes a session of its
own comes back as a child. Thus "I have no child left" is the kernel's proof that all are gone. Elsewhere (macOS)
process groups and the tree of parents are all there is to go by."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .light import suppress
from .notation import dumps
from .processes import MARK, boot_id, descendants, everyone, exit_of, kill, kill_group, look, mark_of
from .signals import SIGKILL
from .spawning import keep_to_ourselves, spawn

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h


class Identity:
    """Who a process is to be, where that is somebody else than the agent."""

    def __init__(self, uid: int, gid: int, groups: Sequence[int]) -> None:
        self.uid, self.gid, self.groups = uid, gid, groups


def drop_to(identity: Identity | None) -> None:
    """For good: in a child, before it is another program."""
    if identity is not None:
        os.setgroups(list(identity.groups))
        os.setgid(identity.gid)
        os.setuid(identity.uid)


class Child:
    """A process that was asked for. `exit` is how it ended, `gone` is called once nothing of it is left."""

    def __init__(self, mark: str, pid: int, start: float, gone: Callable[[Child], None]) -> None:
        self.mark = mark
        self.pid = pid
        self.start = start
        self.exit: dict[str, Any] = {}
        self.gone = gone
        self.remains: set[int] = set()  # those of its descendants that were left to us, killed, not yet collected

    def ended(self, status: int) -> None:
        self.exit = {**exit_of(status), "at": time.time()}


class Children:
    """Call `collect` at each SIGCHLD. `record`: a file in which is noted (JSON lines, appended) who the agent was and
    what it held, for those who come after its death."""

    def __init__(self, record: str = "") -> None:
        self._leaders: dict[int, Child] = {}  # by pid, until they are collected
        self._leaving: list[Child] = []  # collected, but not yet all their descendants
        self._spawned = 0
        keep_to_ourselves()
        self._prctl: Callable[..., int] | None = None
        self._pid = os.getpid()
        me = look(self._pid)
        assert me is not None
        self._start = me.start
        self._mark = f"{me.pid}:{me.start:.0f}"
        self._record: int | None = None
        if record:
            self.keep_record(record)

    def keep_record(self, path: str) -> None:
        self._record = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._note({"agent": self._pid, "start": self._start, "boot": boot_id()})

    def spawn(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        files: Sequence[int],
        gone: Callable[[Child], None],
        identity: Identity | None = None,
    ) -> Child:
        """Start a process in a session of its own. `files` are its stdin, stdout and stderr. Raises OSError,
        ValueError or TypeError."""
        self._adopt()
        self._spawned += 1
        mark = f"{self._mark}:{self._spawned}"
        pid = spawn(argv, {**env, MARK: mark}, cwd, files, lambda: self._become_child(identity))
        seen = look(pid)  # there, even if it has ended: it is not collected yet
        child = self._leaders[pid] = Child(mark, pid, seen.start if seen is not None else 0.0, gone)
        try:
            self._note({"pid": child.pid, "start": child.start, "name": name})
        except OSError:  # a full disk: what could not be found again must not run
            kill_group(child.pid)
            raise
        return child

    @property
    def any(self) -> bool:
        """Whether there has ever been one."""
        return bool(self._spawned)

    def _adopt(self) -> None:
        """Before there is any child: be who its orphans come to."""
        if self._prctl is None and sys.platform == "linux":
            from .prctl import prctl  # not at the top: it is slow to load

            self._prctl = prctl
            self._prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def _become_child(self, identity: Identity | None) -> None:
        """In the child, between fork and exec."""
        drop_to(identity)
        if self._prctl is not None:
            self._prctl(_PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)  # last: another user's id would clear it
            if os.getppid() != self._pid:  # the agent died before that call: nobody will send the signal
                os._exit(1)

    def signal(self, child: Child, number: int) -> None:
        """To its whole group; nothing if it has ended."""
        if self._leaders.get(child.pid) is child:  # not collected, so its pid still is its group's, and nobody else's
            with suppress(ProcessLookupError):
                os.killpg(child.pid, number)

    def tree(self, child: Child) -> list[int]:
        """Its living processes, those included that left its group."""
        if self._leaders.get(child.pid) is not child:
            return []
        processes = [process for process in everyone() if process.alive]
        born = {process.pid for process in descendants([child.pid], processes)}
        return [p.pid for p in processes if p.pid in born or p.pid == child.pid or mark_of(p.pid) == child.mark]

    def kill(self, child: Child) -> None:
        """Its whole tree. One that dies shows no mark any more: what is to be waited for is noted here."""
        child.remains.update([pid for pid in self.tree(child) if kill(pid)])

    def collect(self) -> None:
        """Collect those that ended, and end what they left behind."""
        with suppress(ChildProcessError):
            while self._collect(os.WNOHANG):
                pass
        self._settle()

    def end_all(self) -> None:
        """SIGKILL to everything that descends from us, again and again, until we have no child left."""
        with suppress(ChildProcessError):
            while True:
                while self._collect(os.WNOHANG):  # raises where there is no child: nothing descends from us
                    pass
                for pid in self._leaders:
                    kill_group(pid)
                if not [process for process in descendants([self._pid], everyone()) if kill(process.pid)]:
                    break  # none that we may kill: whoever verifies will name it
                self._collect(0)
        self._settle()

    def _note(self, entry: dict[str, Any]) -> None:
        if self._record is not None:
            os.write(self._record, dumps(entry).encode() + b"\n")

    def _collect(self, how: int) -> bool:
        """Collect one ended child; False if none has ended. Raises ChildProcessError when there is no child.

        What is left of a leader's group is killed while the uncollected leader still keeps the group's number
        from being given to anybody else (macOS has waitid only from Python 3.13 on)."""
        if hasattr(os, "waitid"):
            seen = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | how)
            if seen is None:
                return False
            if seen.si_pid in self._leaders:
                kill_group(seen.si_pid)
            pid, status = os.waitpid(seen.si_pid, 0)
        else:
            pid, status = os.waitpid(-1, how)
            if pid in self._leaders:
                kill_group(pid)
        child = self._leaders.pop(pid, None)
        if child is not None:
            child.ended(status)
            self._leaving.append(child)
        return pid != 0

    def _settle(self) -> None:
        """A child has gone when it and all that it left behind have: kill the rest, report those that are.

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
            if owner is not None and kill(pid):
                owner.remains.add(pid)  # until it is collected: one that is ending shows no mark any more
        gone = [child for child in self._leaving if not child.remains]
        self._leaving = [child for child in self._leaving if child.remains]
        for child in gone:
            child.gone(child)

    def _adopted(self) -> set[int]:
        """Our children that we did not spawn. Only a reaper of descendants has any."""
        if self._prctl is None:
            return set()
        try:
            with open(f"/proc/self/task/{self._pid}/children") as file:
                children = {int(pid) for pid in file.read().split()}
        except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
            children = {process.pid for process in everyone() if process.parent == self._pid}
        return children - self._leaders.keys()
