"""Services that are transient units of systemd."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import sys
import time
from typing import Any, Callable, Mapping

from . import cgroups
from .internals import Internals
from .loop import Loop, Timer
from .processes import look
from .services import Service, Started, Tell, signal_each
from .systemd import Manager, Units, service_unit, start_command
from .users import User

SHIM = r"""
import json, os, signal, sys
spec = json.load(sys.stdin)
report = os.dup(2)
os.dup2(1, 2)
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
for number in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(number, signal.SIG_DFL)
try:
    os.chdir(spec["cwd"])
    with open("/proc/self/stat", "rb") as file:
        stat = file.read()
    os.write(report, b"%d %s\n" % (os.getpid(), stat[stat.rindex(b")") + 2 :].split()[19]))
    os.execvpe(spec["argv"][0], spec["argv"], spec["env"])
except (OSError, ValueError) as error:
    name = "" if getattr(error, "filename", None) else f": {spec['argv'][0]!r}"
    os.write(report, f"!{error}{name}".encode(errors="replace"))
    sys.exit(1)
"""
"""What a unit runs: it takes argv, environment and folder from its stdin and becomes that program. Nothing of them goes
through systemd, to which %, $ and \\ mean something and which takes no text but UTF-8, nor can it be seen in the
unit. What is written to the report, a pipe, is "PID START", and "!" with why it failed if it did; it is closed by
becoming the program."""
STOPPED_WITHIN = 5.0
"""Seconds that SIGKILL may take."""
STARTED_WITHIN = 30.0
_LOOK_AGAIN, _LOOK_SELDOM = 0.05, 1.0
"""Seconds between two looks where the kernel or Python cannot tell of the end of another's child, and, growing, at what
systemd has not noticed yet: a machine on which that takes long has enough to do."""
_ENDED = ("active", "failed", "inactive")
"""States of a unit whose first process has ended: of its own accord (the unit remains, and perhaps some of its
processes), badly, or stopped by somebody (then systemd has ended all of it). Others are on their way there."""
_ENDS = {"1": "code", "2": "signal", "3": "signal"}  # CLD_EXITED, CLD_KILLED, CLD_DUMPED


class UnitService(Service):
    """A unit that is bound to the keeper's: when that ends, systemd ends this one."""

    def __init__(
        self,
        loop: Loop,
        internals: Internals,
        manager: Manager,
        units: Units,
        about: Mapping[str, Any],
        folder: str,
        request: Mapping[str, Any],
        env: Mapping[str, str],
        user: User,
        log: int,
        log_path: str,
        tell: Tell,
    ) -> None:
        """`folder` is where its program and its report are while it starts."""
        super().__init__(request["key"], request["name"], log, tell)
        self._loop, self._internals, self._manager = loop, internals, manager
        self.unit = service_unit(about["run"], self.name, self.key)
        self._waiting: list[Started] = []
        self._report = b""
        self._has_report = self._has_run = False
        self._problem = ""
        self._frozen = ""
        stem = os.path.join(folder, self.key)
        self._files = (f"{stem}.json", f"{stem}.report")
        try:
            content = {"argv": list(request["argv"]), "env": dict(env), "cwd": request["cwd"]}
            program = os.open(self._files[0], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(program, "w") as file:
                json.dump(content, file)
            os.mkfifo(self._files[1], 0o600)
            self._listening = os.open(self._files[1], os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            units.note(self.unit)
        except BaseException:
            self._clean()
            raise
        limits = request.get("limits") or {}
        properties = [
            f"Description=harness: {self.unit}",
            f"StandardInput=file:{self._files[0]}",
            f"StandardOutput=append:{log_path}",
            f"StandardError=file:{self._files[1]}",
            f"BindsTo={about['unit']}",
            f"After={about['unit']}",
            "RemainAfterExit=yes",
            "KillSignal=SIGKILL",
            f"TimeoutStopSec={STOPPED_WITHIN:g}",
            *([f"User={user.name}"] if user.identity is not None else []),
            *([f"CPUQuota={limits['cpus'] * 100:g}%"] if limits.get("cpus") else []),
            *([f"MemoryMax={limits['memory_bytes']:d}"] if limits.get("memory_bytes") else []),
        ]
        argv = [sys.executable, "-I", "-S", "-X", "utf8", "-c", SHIM]
        loop.watch(self._listening, read=self._hear)
        self._timer: Timer = loop.after(
            STARTED_WITHIN, lambda: self._fail(f"it has not started in {STARTED_WITHIN:g} s")
        )
        internals.run(start_command(manager, self.unit, properties, argv), self._ran)

    def when_started(self, call: Started) -> None:
        if self.pid or self._problem:
            call(self._problem)
        else:
            self._waiting.append(call)

    def state(self, pid: int, start: float) -> str:
        state = super().state(pid, start)
        return "paused" if state == "running" and self._frozen and cgroups.is_frozen(self._frozen) else state

    def signal(self, number: int) -> None:
        """To its process group, which it leads as every unit's first process does."""
        process = look(self.pid)
        if process is not None and process.start == self.start:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def pause(self) -> None:
        self._frozen = cgroups.freezer(self.pid, self.unit)
        if self._frozen:
            cgroups.freeze(self._frozen, True)
            return
        stopped: list[int] = []
        while new := [pid for pid in cgroups.members(self.unit) if pid not in stopped]:
            signal_each(new, signal.SIGSTOP)
            stopped += new

    def resume(self) -> None:
        if self._frozen:
            try:
                cgroups.freeze(self._frozen, False)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENODEV):  # gone, with all that stood still in it
                    raise
            self._frozen = ""
        signal_each(cgroups.members(self.unit), signal.SIGCONT)

    def _hear(self) -> None:
        """At the end of the report it has become what it is to be, or has failed."""
        try:
            said = os.read(self._listening, 4096)
        except BlockingIOError:
            return
        self._report += said
        if said:
            return
        self._loop.watch(self._listening)
        if self._report or self._has_run:
            self._has_report = True
            self._go_on()
        else:  # nobody has opened it yet: look again when somebody may have
            self._loop.after(_LOOK_AGAIN, lambda: self._listen_again())

    def _listen_again(self) -> None:
        if not self._has_report and not self._problem:
            self._loop.watch(self._listening, read=self._hear)

    def _ran(self, status: int | None, said: str) -> None:
        if status != 0:
            self._fail(said or f"systemd-run ended with status {status}")
            return
        self._has_run = True
        self._go_on()

    def _go_on(self) -> None:
        if not (self._has_report and self._has_run) or self._problem or self.pid:
            return
        started, _, problem = self._report.partition(b"!")
        if problem or not started:
            self._fail(problem.decode(errors="replace") or "it ended before it began")
            return
        pid, start = started.split()
        self.pid, self.start = int(pid), float(start)
        self._clean()
        self._answer()
        self._watch()

    def _fail(self, problem: str) -> None:
        if self._problem:
            return
        self._problem = problem
        self._clean()
        self._forget(lambda: None)
        self._answer()

    def _answer(self) -> None:
        self._timer.cancel()
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call(self._problem)

    def _clean(self) -> None:
        listening, self._listening = getattr(self, "_listening", -1), -1
        if listening >= 0:
            self._loop.watch(listening)
            os.close(listening)
        for path in self._files:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def _watch(self) -> None:
        """Until its first process has ended."""
        try:
            ending = os.pidfd_open(self.pid) if hasattr(os, "pidfd_open") else -1
        except OSError:  # it has ended, or a kernel before 5.3
            ending = -1
        process = look(self.pid)
        if process is None or process.start != self.start or not process.alive:
            if ending >= 0:
                os.close(ending)
            self._ask(time.time())
        elif ending >= 0:

            def ended() -> None:
                self._loop.watch(ending)
                os.close(ending)
                self._ask(time.time())

            self._loop.watch(ending, read=ended)
        else:
            self._loop.after(_LOOK_AGAIN, self._watch)

    def _ask(self, at: float, pause: float = _LOOK_AGAIN) -> None:
        """How it ended, at this time, is what systemd collected."""
        properties = ["ExecMainCode", "ExecMainStatus", "LoadState", "ActiveState"]
        command = self._manager.command("systemctl", "show", f"--property={','.join(properties)}", self.unit)
        self._internals.run(command, lambda status, said: self._told(at, pause, said))

    def _told(self, at: float, pause: float, said: str) -> None:
        """Every command takes its time on a busy machine: what need not be waited for is not."""
        told = dict(word.partition("=")[::2] for word in said.split())
        how = _ENDS.get(told.get("ExecMainCode", ""))
        there = told.get("LoadState") == "loaded"
        if there and (how is None or told.get("ActiveState") not in _ENDED):
            self._loop.after(pause, lambda: self._ask(at, min(2 * pause, _LOOK_SELDOM)))
            return
        exit_ = {"code": None, "signal": None, "at": at}
        if how is not None:
            exit_[how] = int(told["ExecMainStatus"])
        if there and told["ActiveState"] != "active":  # nothing is left of it but its name
            self.ended(exit_)
            self._forget(lambda: None)
        else:
            self._forget(lambda: self.ended(exit_))

    def _forget(self, then: Callable[[], None]) -> None:
        """End what it left behind, and have systemd forget it."""
        forget = self._manager.command("systemctl", "reset-failed", self.unit)
        stop = self._manager.command("systemctl", "stop", self.unit)
        self._internals.run(stop, lambda *_: self._internals.run(forget, lambda *_: then()))
