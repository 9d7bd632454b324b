"""What is asked of a load generator, and what it is found to do."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path


class NotHereError(Exception):
    """This tool cannot be had on this machine; the text says why."""


@dataclass(frozen=True)
class Load:
    """`connections` that are kept alive, on which `body` is posted for so many `seconds`, by a generator on this `core`
    alone. `scratch` is an empty folder for whatever it writes."""

    url: str
    body: bytes
    connections: int
    seconds: float
    core: int
    scratch: Path


@dataclass(frozen=True)
class Figures:
    """A generator's own word: requests answered with 200 and errors, in so many seconds of the clock; latencies are
    seconds, None where it tells none. `cpu` is the kernel's: user and system seconds of its processes, from their start
    to their end."""

    requests: int
    errors: int
    seconds: float
    cpu: float
    p50: float | None = None
    p99: float | None = None

    @property
    def rate(self) -> float:
        return self.requests / self.seconds if self.seconds else 0.0

    @property
    def cpu_per_thousand(self) -> float | None:
        return 1000 * self.cpu / self.requests if self.requests > 0 else None

    @property
    def busy(self) -> float | None:
        """CPU seconds per second."""
        return self.cpu / self.seconds if self.seconds > 0 else None

    def beyond(self, short: Figures) -> Figures:
        """What this run did and took more than a shorter one: without what it takes to start, then."""
        return replace(
            self,
            requests=max(0, self.requests - short.requests),
            errors=max(0, self.errors - short.errors),
            seconds=max(0.0, self.seconds - short.seconds),
            cpu=max(0.0, self.cpu - short.cpu),
            p50=None,
            p99=None,
        )


@dataclass(frozen=True)
class Trial:
    """A round of one generator. `steady`: what it did and took beyond its short round. `served`: requests that the
    server counted meanwhile, whoever sent them; `server_busy`: its CPU seconds per second."""

    figures: Figures
    steady: Figures
    served: int
    server_busy: float

    @property
    def disputed(self) -> bool:
        """Whether the server's count is another than the generator's, by more than what was in flight at the ends."""
        said = self.figures.requests + self.figures.errors
        return abs(self.served - said) > 200 + 0.01 * self.served


def median(values: Sequence[float | None]) -> float | None:
    """Of those that are there."""
    there = [value for value in values if value is not None]
    return statistics.median(there) if there else None


def percentile(ordered: Sequence[float], percent: float) -> float:
    """By nearest rank, of at least one value in rising order."""
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]
