"""Progress of a node, or of the whole network, reduced as it comes in to what liveness is judged by."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from harness_checks.stretches import Stretch, joined

KEPT = 10_000  # gaps, spells and blocks seen late, each
MOMENT = 0.5
"""Seconds in which what happened out of sight is seen once it can be seen again."""


@dataclass(slots=True)
class _Spell:
    """A stretch in which a node kept up with the highest."""

    start: float
    end: float


class Trace:
    """Takes every block seen at a node. Progress is a height that this node has never reached before: reading an old
    chain again, or going back and forth between forks, is none.

    Memory is bounded by what goes wrong, not by time: gaps shorter than `notable` seconds are not kept, and the time
    in which the node keeps up is one spell, broken by notable gaps and by lag. Of blocks that were seen much later
    than they say that they were made, that moment is kept."""

    def __init__(self, at: float, height: int, notable: float) -> None:
        self.height = height
        self.progressed_at = at
        self._notable = notable
        self._gaps: deque[Stretch] = deque(maxlen=KEPT)
        self._spells: deque[_Spell] = deque(maxlen=KEPT)
        self._seen_late: deque[float] = deque(maxlen=KEPT)
        self._keeps_up = False

    def saw(self, at: float, height: int, keeps_up: bool, made: float) -> None:
        """A block of this height at this moment; `keeps_up`: it is within the allowed lag of the highest anywhere;
        `made`: the moment that it gives itself."""
        if height > self.height:
            if at - self.progressed_at >= self._notable:
                self._gaps.append(Stretch(self.progressed_at, at))
            if at - made >= self._notable:
                self._seen_late.append(made)
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

    def gaps(self, now: float) -> list[Stretch]:
        """The notable gaps, and the one that is still open, in order."""
        return [*self._gaps, Stretch(self.progressed_at, now)]

    def went_on(self, during: Stretch, allowed: float) -> bool:
        """Whether blocks that were seen late say that they were made then, with at most `allowed` seconds between."""
        moments = [during.start, *sorted(m for m in self._seen_late if during.start < m < during.end), during.end]
        return all(after - before <= allowed for before, after in pairwise(moments))

    def recovery(self, healed_at: float) -> float | None:
        """Seconds from this moment until the node was seen to keep up with the highest; None if it was not."""
        for spell in self._spells:
            if spell.end > healed_at:
                return max(0.0, spell.start - healed_at)
        return None


def observed(gap: Stretch, blind: Iterable[Stretch]) -> Stretch:
    """The part of a gap in which there certainly was no progress. Progress that ends a gap as soon as something can be
    seen again was made at any time since nothing could; one that was made out of sight would have ended it then."""
    unseen = (spot.start for spot in joined(blind, MOMENT) if spot.start < gap.end <= spot.end + MOMENT)
    return Stretch(gap.start, max(gap.start, min(unseen, default=gap.end)))
