"""One node's progress through a run, reduced as it comes in to what liveness is judged by."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

KEPT = 10_000  # gaps and spells, each


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch (monotonic seconds) in which a node's chain did not grow."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.start

    def within(self, start: float, end: float) -> Gap:
        """The part of it between two moments; of negative length where there is none."""
        return Gap(max(self.start, start), min(self.end, end))


@dataclass(slots=True)
class _Spell:
    """A stretch in which a node kept up with the highest."""

    start: float
    end: float


class Trace:
    """Takes every block seen at a node. Progress is a height that this node has never reached before: reading an old
    chain again, or going back and forth between forks, is none.

    Memory is bounded by what goes wrong, not by time: gaps shorter than `notable` seconds are not kept, and the time
    in which the node keeps up is one spell, broken by notable gaps and by lag."""

    def __init__(self, at: float, height: int, notable: float) -> None:
        self.height = height
        self.progressed_at = at
        self._notable = notable
        self._gaps: deque[Gap] = deque(maxlen=KEPT)
        self._spells: deque[_Spell] = deque(maxlen=KEPT)
        self._keeps_up = False

    def saw(self, at: float, height: int, keeps_up: bool) -> None:
        """A block of this height at this moment; `keeps_up`: it is within the allowed lag of the highest anywhere."""
        if height > self.height:
            if at - self.progressed_at >= self._notable:
                self._gaps.append(Gap(self.progressed_at, at))
            self.height, self.progressed_at = height, at
        if keeps_up:
            if self._keeps_up and at - self._spells[-1].end < self._notable:
                self._spells[-1].end = at
            else:
                self._spells.append(_Spell(at, at))
        self._keeps_up = keeps_up

    def interrupt(self) -> None:
        """The node was disturbed: whether it keeps up is to be seen anew."""
        self._keeps_up = False

    def gaps(self, now: float) -> list[Gap]:
        """The notable gaps, and the one that is still open, in order."""
        return [*self._gaps, Gap(self.progressed_at, now)]

    def recovery(self, healed_at: float) -> float | None:
        """Seconds from this moment until the node was seen to keep up with the highest; None if it was not."""
        for spell in self._spells:
            if spell.end > healed_at:
                return max(0.0, spell.start - healed_at)
        return None
