"""Where to probe next: a geometric ramp to the first rate that does not pass, then bisection. Pure.

`decide` is a function of what was probed so far and of nothing else: a search that was broken off goes on where it was.

Around the limit a rate is probed until the majority of `repeats` is settled; a rate of the ramp that passes at once is
taken at its word, until it turns out to be the highest that passes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """Of a probe: the criterion held, did not, could not be measured, or the load was not the one that was asked for
    because the generator could not keep up. Only the first is a pass."""

    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"
    GENERATOR = "generator"


@dataclass(frozen=True, slots=True)
class Bounds:
    """`precision` is relative. `ratio`: of the ramp. `max_seconds` of all probes together."""

    start: float
    stop: float
    precision: float = 0.05
    repeats: int = 3
    ratio: float = 2.0
    max_probes: int = 60
    max_seconds: float = math.inf


@dataclass(frozen=True, slots=True)
class Trial:
    """A probe that told something: its rate, and how it came out."""

    rate: float
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Level:
    """All trials of one rate."""

    rate: float
    outcomes: tuple[Outcome, ...]

    @property
    def passed(self) -> int:
        return self.outcomes.count(Outcome.PASS)

    @property
    def others(self) -> int:
        return len(self.outcomes) - self.passed

    def settled(self, repeats: int) -> bool | None:
        """Whether the majority of `repeats` passes; None while that is open."""
        majority = repeats // 2 + 1
        return True if self.passed >= majority else False if self.others >= majority else None

    @property
    def cause(self) -> Outcome:
        """Why it does not pass, of one that does not: what is most frequent; the network's failure where equal."""
        return max((Outcome.FAIL, Outcome.GENERATOR, Outcome.UNKNOWN), key=self.outcomes.count)


class Ending(StrEnum):
    """FOUND, or the bound within which it was not."""

    FOUND = "found"
    ABOVE = "to"
    BELOW = "from"
    PROBES = "max-probes"
    TIME = "max-time"
    GENERATOR = "generator"
    UNMEASURED = "unmeasured"


@dataclass(frozen=True, slots=True)
class Next:
    """Probe this."""

    rate: float


@dataclass(frozen=True, slots=True)
class End:
    """`passed` is the highest rate that passes below `failed`, the lowest that does not; None where there is none."""

    ending: Ending
    passed: Level | None
    failed: Level | None


def levels_of(trials: Sequence[Trial]) -> tuple[Level, ...]:
    """By rate, the lowest first."""
    rates = sorted({trial.rate for trial in trials})
    return tuple(Level(rate, tuple(t.outcome for t in trials if t.rate == rate)) for rate in rates)


def decide(bounds: Bounds, trials: Sequence[Trial], seconds: float = 0.0) -> Next | End:
    """What comes after these trials, which took `seconds`."""
    levels = levels_of(trials)
    failed = next((level for level in levels if level.settled(bounds.repeats) is False), None)
    below = [level for level in levels if failed is None or level.rate < failed.rate]
    doubtful = next((level for level in below if level.others and level.settled(bounds.repeats) is None), None)
    passed = next((level for level in reversed(below) if level is not doubtful), None)
    step = _step(bounds, passed, failed, doubtful)
    if isinstance(step, Next) and len(trials) >= bounds.max_probes:
        return End(Ending.PROBES, passed, failed)
    if isinstance(step, Next) and seconds >= bounds.max_seconds:
        return End(Ending.TIME, passed, failed)
    return step


def _step(bounds: Bounds, passed: Level | None, failed: Level | None, doubtful: Level | None) -> Next | End:
    if doubtful is not None:
        return Next(doubtful.rate)
    if passed is None:
        return End(Ending.BELOW, None, failed) if failed is not None else Next(bounds.start)
    if failed is None and passed.rate < bounds.stop:
        return Next(min(_round(passed.rate * bounds.ratio), bounds.stop))
    if failed is not None and failed.rate > passed.rate * (1 + bounds.precision):
        middle = _between(passed.rate, failed.rate)
        if passed.rate < middle < failed.rate:
            return Next(middle)
    if passed.settled(bounds.repeats) is None:
        return Next(passed.rate)
    if failed is None:
        return End(Ending.ABOVE, passed, None)
    endings = {Outcome.GENERATOR: Ending.GENERATOR, Outcome.UNKNOWN: Ending.UNMEASURED}
    return End(endings.get(failed.cause, Ending.FOUND), passed, failed)


def _between(low: float, high: float) -> float:
    """The geometric mean, as a whole number where that lies between, else with four digits."""
    middle = math.sqrt(low * high)
    whole = float(round(middle))
    return whole if low < whole < high and high - low > 2 else _round(middle)


def _round(rate: float) -> float:
    return float(f"{rate:.4g}")


def contradictions(bounds: Bounds, trials: Sequence[Trial]) -> tuple[str, ...]:
    """Rates above which some passed, though they did not: more load should not do better. One sentence each."""
    levels = levels_of(trials)
    failing = next((level for level in levels if level.settled(bounds.repeats) is False), None)
    return tuple(
        f"{level.rate:g} passed {level.passed} of {len(level.outcomes)} times, though {failing.rate:g} did not pass"
        for level in levels
        if failing is not None and level.rate > failing.rate and level.passed
    )
