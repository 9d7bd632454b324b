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
    """What a machine says of itself."""

    hostname: str
    system: str
    kernel: str
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
    """How a process ended: by exit status or by signal. `at` is Unix seconds.

    Both None: it ended, but nobody could see how."""

    code: int | None
    signal: int | None
    at: float

    def __str__(self) -> str:
        if self.signal is not None:
            try:
                return f"killed by {signals.Signals(self.signal).name}"
            except ValueError:
                return f"killed by signal {self.signal}"
        return "ended, status unknown" if self.code is None else f"exit status {self.code}"


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
        """Wait for its end. `Exit(None, None, …)` means that its supervisor was lost and nobody saw how it ended."""

    @abstractmethod
    async def signal(self, number: int) -> None:
        """Send a signal to its whole process group. Nothing happens if it has ended."""

    @abstractmethod
    async def state(self) -> str:
        """What the kernel says: "running", "paused" or "gone". Asked afresh, never remembered: it is proof."""


class Machine(ABC):
    """Something that runs commands and holds files: this host, a container, an SSH host.

    Paths are absolute on the machine. Commands are argv lists; no shell is involved."""

    name: str
    capabilities: frozenset[MachineCapability]
    python: str = "python3"
    """A Python 3.11+ interpreter on this machine."""

    @abstractmethod
    async def run(
        self,
        argv: Sequence[str],
        *,
        input: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: PurePosixPath | None = None,
        timeout: float = 60.0,
    ) -> Completed:
        """Run a command to its end. A non-zero status is not an error here.

        Raises InfrastructureError when it cannot be started, and TimeoutError after `timeout` seconds,
        the command having been killed."""

    @abstractmethod
    async def put(self, content: bytes | Path, path: PurePosixPath, mode: int = 0o644) -> None:
        """Write a file atomically, its folders included. `content` is bytes, or a file of the controller."""

    @abstractmethod
    async def get(self, path: PurePosixPath) -> bytes:
        """A file's content. Raises FileNotFoundError."""

    @abstractmethod
    async def remove(self, path: PurePosixPath) -> None:
        """Remove a file or a whole folder; nothing happens where there is none."""

    @abstractmethod
    async def spawn(self, spec: ServiceSpec) -> Service:
        """Start a supervised process. Raises InfrastructureError when it cannot be started."""

    @abstractmethod
    async def facts(self) -> Facts:
        """What the machine says of itself."""
