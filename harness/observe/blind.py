"""When nothing could be seen: the observer's own loop stood still, or it had no connection to a node."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

from harness.clock import Clock

BEAT = 0.25  # seconds
LATE = 0.5
"""Seconds that the loop may be late before that time counts as not observed: at one beat, or slow ones in a row."""
SLOW = 0.1
"""Seconds that a beat is late to be a slow one."""
KEPT = 10_000  # spans, of the loop and of each node

Span = tuple[float, float]


class BlindSpots:
    """Spans of monotonic seconds. What is seen first right after one may have happened at any time in it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._loop: deque[Span] = deque(maxlen=KEPT)
        self._nodes: dict[str, deque[Span]] = {}
        self._open: dict[str, float] = {}
        self._beat = self._since = math.inf  # when the present beat, and the slow ones in a row, began
        self._behind = 0.0

    async def watch_loop(self) -> None:
        """Feel the pulse of the event loop, until cancelled. Unix time is looked at too: where a machine sleeps,
        monotonic time does."""
        clock = self._clock
        self._since = clock.now()
        while True:
            self._beat, wall = clock.now(), clock.wall()
            await clock.sleep(BEAT)
            now = clock.now()
            late = max(now - self._beat, clock.wall() - wall) - BEAT
            if late <= SLOW:
                self._since, self._behind = now, 0.0
                continue
            self._behind += late
            if self._behind > LATE:
                self._add(self._loop, (self._since, now))

    @property
    def held_up(self) -> Sequence[Span]:
        """When the loop itself was held up, in order; now, too, where who asks comes before the beat that is due."""
        spans, now = deque(self._loop), self._clock.now()
        late = now - self._beat - BEAT
        if late > SLOW and self._behind + late > LATE:
            self._add(spans, (self._since, now))
        return tuple(spans)

    @staticmethod
    def _add(spans: deque[Span], span: Span) -> None:
        """The slow beats in a row are one span, which grows."""
        if spans and spans[-1][0] == span[0]:
            spans.pop()
        spans.append(span)

    def lost(self, node: str) -> None:
        """From now on nothing is seen of this node; no news if that is so already."""
        self._open.setdefault(node, self._clock.now())

    def found(self, node: str) -> None:
        """All that happened at this node so far has been seen."""
        start = self._open.pop(node, None)
        if start is not None:
            self._nodes.setdefault(node, deque(maxlen=KEPT)).append((start, self._clock.now()))

    def of(self, node: str) -> Sequence[Span]:
        """The spans in which nothing was seen of this node, in no order; the one that still lasts ends now."""
        spans = [*self.held_up, *self._nodes.get(node, ())]
        if node in self._open:
            spans.append((self._open[node], self._clock.now()))
        return spans
