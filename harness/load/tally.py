"""What a sender counts, and how distributions are kept: as an HDR histogram would, in a plain mapping."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

REASONS_KEPT, REASON_LENGTH = 16, 200
_BITS = 11
"""Significant bits of what is counted: three decimal digits, as an HDR histogram of that precision keeps."""

Distribution = dict[int, int]
"""How often, by microseconds rounded down to three digits. Two are merged by adding."""


def count(distribution: Distribution, seconds: float) -> None:
    """Add a sample; less than nought counts as nought."""
    value = int(seconds * 1e6)
    if value < 0:
        value = 0
    shift = value.bit_length() - _BITS
    if shift > 0:
        value = value >> shift << shift
    distribution[value] = distribution.get(value, 0) + 1


@dataclass(slots=True)
class Tally:
    """Counted by one sender since it told last. Two sums hold over all of them together:

    offered = started + dropped + unready + behind + untold, and
    started = taken + read + timed_out + lost + failed + cut_off + what is in flight.

    on_time: fired within 10 ms of the intended moment. dropped: as many were in flight as may be. unready: no request
    was there to be sent, because every lane waited for an answer (`blocked`) or because it was not fed in time.
    behind: never come to before the end. untold: due after the last word of a sender that was lost, so that nobody
    knows if it was started; the controller counts these. Distributions: `lateness` of firing after the intended moment;
    `service` from firing to the answer, `response` from the intended moment to the answer, both of those answered, and
    none of them in the warm-up. `warming`: how many of the answered these leave out."""

    offered: int = 0
    started: int = 0
    on_time: int = 0
    taken: int = 0
    read: int = 0
    timed_out: int = 0
    lost: int = 0
    failed: int = 0
    cut_off: int = 0
    dropped: int = 0
    unready: int = 0
    blocked: int = 0
    behind: int = 0
    untold: int = 0
    warming: int = 0
    connects: int = 0
    lateness: Distribution = field(default_factory=dict)
    service: Distribution = field(default_factory=dict)
    response: Distribution = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def give(self, reason: str) -> None:
        """Count a reason of a failure; those after the first few kinds go under one name."""
        reason = reason[:REASON_LENGTH]
        if reason not in self.reasons and len(self.reasons) >= REASONS_KEPT:
            reason = "(other reasons)"
        self.reasons[reason] += 1

    def add(self, other: Tally) -> None:
        """Count what the other has counted, too."""
        for item in fields(self):
            mine, theirs = getattr(self, item.name), getattr(other, item.name)
            if isinstance(mine, int):
                setattr(self, item.name, mine + theirs)
            else:
                for key, amount in theirs.items():
                    mine[key] = mine.get(key, 0) + amount

    def to_json(self) -> dict[str, Any]:
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Tally:
        tally = cls()
        for item in fields(cls):
            given = value[item.name]
            if isinstance(getattr(tally, item.name), Counter):
                given = Counter(given)
            elif isinstance(given, Mapping):
                given = {int(key): amount for key, amount in given.items()}
            setattr(tally, item.name, given)
        return tally


@dataclass(frozen=True, slots=True)
class Told:
    """A sender's word: what it counted from `since` to `until` (its monotonic seconds), what is in flight now, the CPU
    seconds that it took in that time, and the most memory it ever had, in bytes."""

    since: float
    until: float
    tally: Tally
    in_flight: int
    cpu: float
    memory: int

    def later(self, seconds: float) -> Told:
        """The same, so much later."""
        return replace(self, since=self.since + seconds, until=self.until + seconds)

    def to_json(self) -> bytes:
        return json.dumps(
            {name: getattr(self, name) for name in self.__slots__} | {"tally": self.tally.to_json()}
        ).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Told:
        value = json.loads(data)
        return cls(**{**value, "tally": Tally.from_json(value["tally"])})
