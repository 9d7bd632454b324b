"""Processes that somebody else runs: looked at, and controlled where that is allowed, through their service manager or
by the pid file that they have written.

A process is known by its pid *and* start time. Signals to a pid are sent through a pidfd (pidfd_open(2)), so that
they cannot reach another process that was given the same pid."""

from __future__ import annotations

import json
import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from harness.errors import InfrastructureError
from harness.plugin.contract.machine import Completed, Exit, Machine

CONTROL_WITHIN = 110.0
"""Seconds that systemctl may take: a unit has 90 to stop unless it says otherwise (systemd.service(5), TimeoutStopSec);
less than what a healing is given."""
_NOT_ALLOWED = 13  # what our script exits with then: EACCES
_PROPERTIES = (
    "LoadState,ActiveState,Result,MainPID,ExecMainStartTimestampMonotonic,ExecMainPID,ExecMainCode,ExecMainStatus"
)
_CLD_EXITED, _CLD_KILLED, _CLD_DUMPED = "1", "2", "3"  # siginfo.h, as in ExecMainCode


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a process. `pid` is None where none runs: `why` says what there is instead. `start` tells a
    reused pid apart. `ended` is how the last one ended, where its manager knows: (exit status, signal); `obeyed`,
    whether that manager takes it for an end as it should be. `missing`: there is not even a unit."""

    pid: int | None
    start: str = ""
    why: str = ""
    ended: tuple[int | None, int | None] = (None, None)
    obeyed: bool = True
    missing: bool = False

    def is_same(self, other: Seen) -> bool:
        return (self.pid, self.start) == (other.pid, other.start)

    def exit(self, at: float) -> Exit:
        return Exit(*self.ended, at)


class ForeignProcess(ABC):
    """One node's process, on its machine. Every method raises InfrastructureError."""

    what: str
    """The unit or the file, for texts."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    @abstractmethod
    async def look(self) -> Seen: ...

    async def is_suspended(self, pid: int) -> bool | None:
        """What the kernel says of it; None where there is no such process."""
        told = await _ask(self._machine, "state", str(pid))
        return None if told["state"] == "" else told["state"] in ("T", "t")

    async def suspend(self) -> None:
        await self._signal(signal.SIGSTOP)

    async def resume(self) -> None:
        await self._signal(signal.SIGCONT)

    @abstractmethod
    async def _signal(self, number: signal.Signals) -> None: ...

    @abstractmethod
    def undo_suspend(self, seen: Seen) -> Sequence[Sequence[str]]:
        """Commands that resume it, for the machine's ledger."""

    async def start(self) -> None:
        raise InfrastructureError(f"{self._machine.name}: nobody knows how to start what wrote {self.what}")

    async def stop(self) -> None:
        raise InfrastructureError(f"{self._machine.name}: what wrote {self.what} could not be started again")

    async def kill(self) -> None:
        """End it at once, and keep it from being started again."""
        await self.stop()

    def undo_stop(self) -> Sequence[Sequence[str]]:
        return ()


class UnitProcess(ForeignProcess):
    """The processes of a systemd unit; systemctl does it all."""

    def __init__(self, machine: Machine, unit: str) -> None:
        super().__init__(machine)
        self.what = unit

    async def look(self) -> Seen:
        done = await self._machine.run(("systemctl", "show", f"--property={_PROPERTIES}", "--", self.what))
        if done.returncode != 0:
            raise InfrastructureError(f"{self._machine.name}: systemctl show {self.what}: {_complaint(done)}")
        return _seen(dict(line.partition("=")[::2] for line in done.stdout.decode(errors="replace").splitlines()))

    async def start(self) -> None:
        """Also where systemd refuses it because it was started so often (systemd.unit(5), StartLimitBurst)."""
        try:
            await self._systemctl("start")
        except InfrastructureError:
            await self._systemctl("reset-failed")
            await self._systemctl("start")

    async def stop(self) -> None:
        await self._systemctl("stop")

    async def kill(self) -> None:
        """SIGKILL to all its processes; then stop, which calls off its being started again by Restart=."""
        await self._systemctl("kill", "--signal=SIGKILL")
        await self._systemctl("stop")

    def undo_stop(self) -> Sequence[Sequence[str]]:
        return (("systemctl", "start", "--", self.what),)

    async def _signal(self, number: signal.Signals) -> None:
        await self._systemctl("kill", f"--signal={number.name}")

    def undo_suspend(self, seen: Seen) -> Sequence[Sequence[str]]:
        return (("systemctl", "kill", "--signal=SIGCONT", "--", self.what),)

    async def _systemctl(self, verb: str, *options: str) -> None:
        argv = ("systemctl", verb, *options, "--", self.what)
        done = await self._machine.run(argv, become=True, timeout=CONTROL_WITHIN)
        if done.returncode != 0:
            raise InfrastructureError(f"{self._machine.name}: {' '.join(argv)}: {_complaint(done)}")


def _seen(shown: Mapping[str, str]) -> Seen:
    """Of what `systemctl show` prints."""
    if shown.get("LoadState") == "not-found":
        return Seen(None, why="there is no such unit", missing=True)
    pid, state, result = int(shown.get("MainPID", "0")), shown.get("ActiveState", ""), shown.get("Result", "")
    code, status = shown.get("ExecMainCode", ""), int(shown.get("ExecMainStatus") or 0)
    ended = (status if code == _CLD_EXITED else None, status if code in (_CLD_KILLED, _CLD_DUMPED) else None)
    why = "" if pid else f"it is {state}" + (f" ({result})" if result not in ("", "success") else "")
    return Seen(pid or None, shown.get("ExecMainStartTimestampMonotonic", ""), why, ended, result == "success")


class PidFileProcess(ForeignProcess):
    """The one process whose pid is in a file."""

    def __init__(self, machine: Machine, path: str) -> None:
        super().__init__(machine)
        self.what = path

    async def look(self) -> Seen:
        told = await _ask(self._machine, "look", self.what)
        return Seen(told["pid"], told["start"], told["why"])

    async def _signal(self, number: signal.Signals) -> None:
        seen = await self.look()
        if seen.pid is None:
            raise InfrastructureError(f"{self._machine.name}: {self.what}: {seen.why}")
        await _ask(self._machine, "signal", str(seen.pid), seen.start, str(int(number)))

    def undo_suspend(self, seen: Seen) -> Sequence[Sequence[str]]:
        script = _script().decode()
        continued = str(int(signal.SIGCONT))
        return ((self._machine.python, "-I", "-S", "-c", script, "signal", str(seen.pid), seen.start, continued),)


async def _ask(machine: Machine, *words: str) -> dict[str, Any]:
    """Run our script there, as root if it must be; it answers with one JSON object. Raises InfrastructureError with
    what it says."""
    argv = (machine.python, "-I", "-S", "-", *words)
    done = await machine.run(argv, input=_script())
    if done.returncode == _NOT_ALLOWED:
        done = await machine.run(argv, input=_script(), become=True)
    if done.returncode != 0:
        raise InfrastructureError(f"{machine.name}: {words[1]}: {_complaint(done)}")
    try:
        told = json.loads(done.stdout)
    except ValueError:
        raise InfrastructureError(f"{machine.name}: {machine.python} did not answer as Python does") from None
    return dict(told)


def _complaint(done: Completed) -> str:
    said = done.stderr.decode(errors="replace").strip().splitlines()
    return said[-1] if said else f"exit status {done.returncode}"


@cache
def _script() -> bytes:
    return Path(__file__).with_name("foreign_script.py").read_bytes()
