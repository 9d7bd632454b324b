"""Verdicts and their order."""

from __future__ import annotations

import enum
from collections.abc import Iterable

from harness.errors import ExitCode


class Verdict(enum.StrEnum):
    """`pass < unknown < fail`; a run's verdict is the worst of its expectations'.

    `unknown` means that it could not be measured: never a pass."""

    PASS = "pass"
    UNKNOWN = "unknown"
    FAIL = "fail"

    @property
    def rank(self) -> int:
        return ("pass", "unknown", "fail").index(self.value)

    @property
    def exit_code(self) -> ExitCode:
        return (ExitCode.PASS, ExitCode.UNKNOWN, ExitCode.FAIL)[self.rank]

    @staticmethod
    def worst(verdicts: Iterable[Verdict]) -> Verdict:
        """The worst of them; `unknown` of none at all: a run that judged nothing has shown nothing."""
        return max(verdicts, key=lambda v: v.rank, default=Verdict.UNKNOWN)
