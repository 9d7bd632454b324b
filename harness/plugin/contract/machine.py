"""Machines: things that can run commands, hold files and supervise services."""

from __future__ import annotations

import signal as signals
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from harness.plugin.contract.base import MachineCapability


@dataclass(frozen=True, slots=True)
class Address:
    """Where something listens, as seen by whoever was given this address."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that ran to its end. `seconds` is how long it took."""

    argv: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes
    seconds: float


@dataclass(frozen=True, slots=True)
class Facts:
    """What a machine says of itself. `system` and `architecture` as uname(1) has them: "Linux", "x86_64". The disk is
    that on which runs keep what they have there, 0 where it cannot be seen."""

    hostname: str
    system: str
    kernel: str
    architecture: str
    python: str
    cpus: int
    memory_bytes: int
    free_disk_bytes: int


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """A process to supervise. `log` is where its stdout and stderr end up on the controller, appended."""

    name: str
    argv: tuple[str, ...]
    cwd: PurePosixPath
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: by exit status or by signal. `at` is Unix seconds. `why` is for people: what the machine
    knows of the reason ("out of memory (limit 32 MiB)").

    Both None: it ended, but nobody could see how."""

    code: int | None
    signal: int | None
    at: float
    why: str = ""

    def __str__(self) -> str:
        return f"{self._how}: {self.why}" if self.why else self._how

    @property
    def _how(self) -> str:
        if self.signal is not None:
            try:
                return f"killed by {signals.Signals(self.signal).name}"
            except ValueError:
                return f"killed by signal {self.signal}"
        return "ended, status unknown" if self.code is None else f"exit status {self.code}"


@dataclass(frozen=True, slots=True)
class CommandRecord:
    """One command that was run on a machine, for the audit. `returncode` is None when nobody saw it end: `error`
    says why. `user` is who it ran as, "" for whoever one is there."""

    machine: str
    argv: tuple[str, ...]
    returncode: int | None
    seconds: float
    user: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a service uses, all its processes together: CPU time in seconds since it started, and memory in bytes."""

    cpu: float
    memory: int


class Service(ABC):
    """A supervised process, that dies with the lease of whoever spawned it."""

    spec: ServiceSpec

    @property
    @abstractmethod
    def pid(self) -> int:
        """Process id on its machine. Identifies the process only together with `start_time`."""

    @property
    @abstractmethod
    def start_time(self) -> float:
        """When the kernel says that it started, in the kernel's own unit: tells a reused pid apart."""

    @property
    @abstractmethod
    def exit(self) -> Exit | None:
        """How it ended, None while it lives."""

    @abstractmethod
    async def wait(self) -> Exit:
        """Wait for its end. `Exit(None, None, …)` means that its supervisor was lost and nobody saw how it ended, or
        that its supervisor gave up, as when a lease was not renewed, and ended it: no statement about the process."""

    @abstractmethod
    async def signal(self, number: int) -> None:
        """Send a signal to its whole process group. Nothing happens if it has ended."""

    async def pause(self) -> None:
        """Suspend all its processes, those that left its group included where the machine can."""
        await self.signal(signals.SIGSTOP)

    async def resume(self) -> None:
        await self.signal(signals.SIGCONT)

    async def sync_log(self) -> None:
        """Wait until what it has written up to now is in `spec.log`. Where the log is written to directly, it is.

        Raises InfrastructureError when that cannot be had any more."""

    @abstractmethod
    async def state(self) -> str:
        """What the kernel says: "running", "paused" or "gone". Asked afresh, never remembered: it is proof."""

    async def usage(self) -> Usage | None:
        """What it uses now, None where that cannot be told. Raises InfrastructureError."""
        return None


class Machine(ABC):
    """Something that runs commands and holds files: this host, a container, an SSH host.

    A container is its node's: it takes files at any time, and commands while the node's process runs.
    Paths are absolute on the machine. Commands are argv lists; no shell is involved."""

    name: str
    capabilities: frozenset[MachineCapability]
    python: str = "python3"
    """A Python 3.11+ interpreter on this machine."""
    kernel: str = ""
    """Machines that say the same here share one kernel, and with it one clock; "" for one with a kernel of its own."""

    @abstractmethod
    async def run(
        self,
        argv: Sequence[str],
        *,
        input: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: PurePosixPath | None = None,
        timeout: float = 60.0,
        become: bool = False,
    ) -> Completed:
        """Run a command to its end. A non-zero status is not an error here. `become`: as root, however the inventory
        says that one becomes it. When the call is cancelled, the command and what it started are killed.

        Raises InfrastructureError when it cannot be started (its text says why `become` is refused), CommandTimeout
        after `timeout` seconds, the command having been killed, and MachineLost."""

    @abstractmethod
    async def put(self, content: bytes | Path, path: PurePosixPath, mode: int = 0o644) -> None:
        """Write a file atomically, its folders included. `content` is bytes, or a file of the controller."""

    @abstractmethod
    async def get(self, path: PurePosixPath) -> bytes:
        """A file's content, as a whole in memory. Raises FileNotFoundError."""

    @abstractmethod
    async def fetch(self, path: PurePosixPath, to: Path) -> None:
        """A file of any size, into a file of the controller, written atomically. Raises FileNotFoundError."""

    @abstractmethod
    async def remove(self, path: PurePosixPath) -> None:
        """Remove a file or a whole folder; nothing happens where there is none."""

    @abstractmethod
    async def spawn(self, spec: ServiceSpec) -> Service:
        """Start a supervised process. Raises InfrastructureError when it cannot be started."""

    @abstractmethod
    async def facts(self) -> Facts:
        """What the machine says of itself."""

    async def ledger_add(self, entry: str, undo: Sequence[Sequence[str]], what: str) -> None:
        """Before something is disturbed there: how that is undone, commands to be run as root one after the other.

        Should the controller die, the machine does it by itself once it has missed it for the run's lease. Where a
        machine keeps no such ledger nothing happens. Raises InfrastructureError."""

    async def ledger_remove(self, entry: str) -> None:
        """It is undone."""
