"""What is said to agents, and by them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from harness.api import InfrastructureError, MachineLost


@dataclass(frozen=True, slots=True)
class Hello:
    """What an agent says of where it is. `python` is a Python 3.11+ there, "" where none is found; `version` that of
    the Python which runs the agent; `user` who logged in; `systemd` whether it is what this machine was booted with."""

    pid: int
    start: float
    python: str
    version: str
    user: str
    uid: int
    home: str
    system: str
    systemd: bool


@dataclass(frozen=True, slots=True)
class Become:
    """How one becomes root where one did not log in as root: sudo, with a password on its stdin, or without one."""

    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class KeeperSpec:
    """A run's daemon on a machine. `owner` is who its controller is ("user@host"), `lease` how many seconds it lives
    on without hearing of it.

    `base` is the folder on the machine where runs keep their state, `/var/tmp/harness-UID` unless said: not below
    /run/user, which goes when its user logs out, nor in a home, which machines may share. Machines that share a file
    system need one each. `mechanism` is "systemd" or "child"; unless said, systemd where it may be used."""

    run_id: str
    owner: str
    lease: float = 60.0
    base: str = ""
    mechanism: str = ""


@dataclass(frozen=True, slots=True)
class Undo:
    """A command that undoes something."""

    argv: tuple[str, ...]
    become: bool = True


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What was done to a machine, in a sentence, and how to undo it, in this order."""

    entry: str
    undo: tuple[Undo, ...]
    what: str = ""


@dataclass(frozen=True, slots=True)
class SweepReport:
    """A sentence each: what was undone and ended of dead runs, what is left in spite of that, and which runs live."""

    done: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    alive: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """What a service may use: CPUs, 1.5 being one and a half, and bytes of memory."""

    cpus: float | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Holding:
    """A run that has a machine. `since` is Unix seconds, `expires_in` seconds from when the machine said so."""

    run_id: str
    owner: str
    since: float
    expires_in: float

    def __str__(self) -> str:
        began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"run {self.run_id} of {self.owner} since {began}, whose lease ends in {self.expires_in:.0f} s"


class MachineLocked(InfrastructureError):
    """Another run has this machine. `since` is Unix seconds, `expires_in` seconds from when it was said."""

    def __init__(self, machine: str, run_id: str, owner: str, since: float, expires_in: float) -> None:
        self.machine, self.run_id, self.owner = machine, run_id, owner
        self.since, self.expires_in = since, expires_in
        super().__init__(f"{machine} is in use by {Holding(run_id, owner, since, expires_in)}")


class KeeperGone(MachineLost):
    """A machine is there, but what kept our run there is not: it has been ended, there and with all that it held."""
