"""Every error that harness raises on purpose.

HarnessError
├── UsageError              the user's mistake: playbook, inventory, command line     (exit 4)
│   ├── SpecError           one or more problems in files, each with file:line:column
│   ├── UnknownPluginError  a name that no installed plugin has
│   └── PluginLoadError     a chosen plugin that fails to import or to register
├── InfrastructureError     the network could not be stood up or disturbed as asked   (exit 3)
│   ├── DeployError         a machine or a node could not be made
│   ├── NotReadyError       nodes did not become ready in time
│   ├── CommandTimeout      a command on a machine took too long, and was killed
│   ├── MachineLost         a machine cannot be reached any more
│   └── FaultError          a fault was not applied, or not healed
├── TeardownError           something of the run is still there                       (exit 5)
├── Unsupported             a chain client was asked for what its chain lacks
└── Unreachable             a node did not answer (expected during faults; callers handle it)
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from harness.printable import printable


class ExitCode(enum.IntEnum):
    """What `harness run` exits with. These numbers are an API (docs/exit-codes.md)."""

    PASS = 0
    FAIL = 1
    UNKNOWN = 2
    INFRASTRUCTURE = 3
    USAGE = 4
    TEARDOWN = 5
    INTERRUPTED = 130


class HarnessError(Exception):
    """Base of all; its text is shown to the user as it is, without a traceback."""

    exit_code = ExitCode.INFRASTRUCTURE


class UsageError(HarnessError):
    """The user's mistake; the text says what, where and what to do."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong in a file: `file:line:column: path: message; hint`, in one line whatever values it cites.

    `line` and `column` count from 1; 0 where the problem has no place (a missing file)."""

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        path = f"{self.path}: " if self.path else ""
        hint = f"; {self.hint}" if self.hint else ""
        return printable(f"{place}: {path}{self.message}{hint}")


class SpecError(UsageError):
    """All the problems of one or more files at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(map(str, self.problems)))


class UnknownPluginError(UsageError):
    """No installed plugin of this kind has this name; the text lists those that there are."""


class PluginLoadError(UsageError):
    """A chosen plugin could not be imported or registered; the text names it and its distribution."""


class InfrastructureError(HarnessError):
    """The network could not be stood up or disturbed as asked: no statement about the network."""


class DeployError(InfrastructureError):
    """A machine or a node could not be made."""


class NotReadyError(InfrastructureError):
    """Nodes did not become ready in time."""


class CommandTimeout(InfrastructureError):
    """A command on a machine took more than its time, and was killed. What it had written by then is all there."""

    def __init__(self, message: str, stdout: bytes = b"", stderr: bytes = b"") -> None:
        super().__init__(message)
        self.stdout, self.stderr = stdout, stderr


class MachineLost(InfrastructureError):
    """A machine cannot be reached (any more): nobody knows what became of what was asked of it."""


class FaultError(InfrastructureError):
    """A fault was not applied, or not healed: distinct from "the network failed"."""


class TeardownError(HarnessError):
    """Something that the run made is still there."""

    exit_code = ExitCode.TEARDOWN


class Unsupported(HarnessError):
    """A chain client was asked for something that its chain does not declare as a capability."""


class Unreachable(HarnessError):
    """A node did not answer, or not in time. Expected while it is disturbed; callers handle it."""


class BrokenAnswer(Unreachable):
    """It answered, but not as any sound node does: with an internal error, or with what is no answer at all."""
