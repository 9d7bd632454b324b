"""What a search found, in words and figures. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import ExitCode
from harness.record.text import counted
from harness.search.interval import limit_interval, pass_chance
from harness.search.record import Search
from harness.search.strategy import End, Ending, Level, Outcome, contradictions
from harness.spec.durations import format_duration


@dataclass(frozen=True, slots=True)
class Finding:
    """`sentence` says what the limit is, or which bound was met; `notes` how sure that is, and what is odd.
    `interval` is None where there is no limit."""

    end: End
    exit_code: ExitCode
    sentence: str
    interval: tuple[float, float] | None
    notes: tuple[str, ...]

    def as_result(self) -> dict[str, Any]:
        """As it stands in search.json."""
        return {
            "ending": self.end.ending.value,
            "exit_code": int(self.exit_code),
            "sentence": self.sentence,
            "passed": _level(self.end.passed),
            "failed": _level(self.end.failed),
            "interval": list(self.interval) if self.interval else None,
            "notes": list(self.notes),
        }


def _level(level: Level | None) -> dict[str, Any] | None:
    return {"rate": level.rate, "passed": level.passed, "of": len(level.outcomes)} if level else None


def conclude(search: Search, end: End) -> Finding:
    """Of a search that is over."""
    bounds = search.settings.bounds
    found = end.ending is Ending.FOUND
    own = [trial for trial in search.trials if trial.outcome is not Outcome.GENERATOR]
    interval = limit_interval(own, bounds.start, bounds.stop) if found else None
    notes = [*_certainty(search, end, interval), *contradictions(bounds, search.trials)]
    code = ExitCode.PASS if found else ExitCode.UNKNOWN
    return Finding(end, code, _sentence(search, end), interval, tuple(notes))


def _sentence(search: Search, end: End) -> str:
    bounds, name = search.settings.bounds, search.settings.vary
    passed = _told(search, end.passed) if end.passed else ""
    failed = _told(search, end.failed) if end.failed else ""
    at_least = f"{name} = {passed} passes" if passed else f"no {name} has passed"
    match end.ending:
        case Ending.FOUND:
            return f"the limit is between {passed}, the highest that passed, and {failed}, the lowest that failed"
        case Ending.ABOVE:
            return f"not found: {at_least}, and it is --to: the limit is higher"
        case Ending.BELOW:
            why = {
                Outcome.GENERATOR: "the generator's limit, not the network's",
                Outcome.UNKNOWN: "nothing was measured",
            }
            told = why.get(end.failed.cause, "the limit is lower") if end.failed else ""
            return f"not found: {failed}, which is --from, did not pass: {told}"
        case Ending.GENERATOR:
            more = "give it more users, senders, max_in_flight or cores"
            return f"not found: {at_least}; {failed} is the generator's limit, not the network's: {more}"
        case Ending.UNMEASURED:
            return f"not found: {at_least}; at {failed} it could not be measured whether the criterion holds"
        case Ending.PROBES:
            bound = f"--max-probes {bounds.max_probes}"
        case Ending.TIME:
            bound = f"--max-time {format_duration(bounds.max_seconds)}"
    lowest = f", {failed} does not" if failed else ""
    return f"not found within {bound}: {at_least}{lowest}"


def _told(search: Search, level: Level) -> str:
    return f"{search.value(level.rate)} ({level.passed} of {len(level.outcomes)})"


def _certainty(search: Search, end: End, interval: tuple[float, float] | None) -> Sequence[str]:
    notes = []
    if interval is not None:
        low, high = map(search.value, interval)
        notes.append(
            f"95 % interval of the rate at which half of the probes pass: {low} to {high} "
            f"(logistic in the logarithm of the rate, flat priors, {counted(len(search.trials), 'probe')})"
        )
    for level in (end.passed, end.failed):
        if level is not None:
            chance = pass_chance(level.passed, len(level.outcomes))
            low, high = (f"{100 * one:.0f} %" for one in chance)
            notes.append(
                f"at {search.value(level.rate)}: {level.passed} of {counted(len(level.outcomes), 'probe')} passed; the "
                f"repeats alone put the chance of passing between {low} and {high} (Clopper–Pearson, 95 %)"
            )
    return notes
