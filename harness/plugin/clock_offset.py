"""How far a machine's clock is ahead of ours."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass

from harness.plugin.contract.machine import Machine

EXCHANGES = 5
"""How often a machine is asked for its time."""
_DATE = ("date", "+%s.%N")
_TRUE = {"LD_PRELOAD": ""}
"""Without what a node's clock may be made wrong by: it is the machine's that is asked for."""
_SECONDS = re.compile(rb"(\d+)\.(\d{9})?")


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """How many seconds a machine's clock is ahead of ours: certainly within `uncertainty` of `seconds`."""

    seconds: float
    uncertainty: float


@dataclass(frozen=True, slots=True)
class Exchange:
    """The machine was asked for its time: our clock before (Unix seconds), how long it took, and what it said, which
    it had rounded down to `resolution` seconds."""

    sent: float
    took: float
    told: float | None
    resolution: float = 0.0

    @property
    def offset(self) -> ClockOffset | None:
        """By Cristian's algorithm (Distributed Computing 3, 1989), which is NTP's (RFC 5905, §8) for a server that
        answers in no time: it looked at its clock some time between our sending and our hearing it."""
        if self.told is None:
            return None
        middle = self.sent + self.took / 2
        return ClockOffset(self.told + self.resolution / 2 - middle, (self.took + self.resolution) / 2)


async def exchange(machine: Machine, timeout: float) -> Exchange:
    """Ask a machine for its time. Raises InfrastructureError."""
    sent, began = time.time(), time.monotonic()
    done = await machine.run(_DATE, env=_TRUE, timeout=timeout)
    took = time.monotonic() - began
    match = _SECONDS.match(done.stdout)
    if match is None:
        return Exchange(sent, took, None)
    if match[2] is None:  # a date(1) that knows whole seconds only
        return Exchange(sent, took, float(match[1]), 1.0)
    return Exchange(sent, took, float(match[1]) + float(match[2]) / 1e9)


def best_offset(exchanges: Iterable[Exchange]) -> ClockOffset | None:
    """The one that is known best; None where the machine said no time."""
    return min((e.offset for e in exchanges if e.offset), key=lambda offset: offset.uncertainty, default=None)


async def clock_offset(machine: Machine, timeout: float = 5.0) -> ClockOffset | None:
    """Ask a machine for its time a few times; None where it says none. Raises InfrastructureError, as `Machine.run`
    does, when it cannot be asked."""
    return best_offset([await exchange(machine, timeout) for _ in range(EXCHANGES)])
