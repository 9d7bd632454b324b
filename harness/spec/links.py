"""Traffic between nodes, and what a network may do to it."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Flow:
    """Traffic from one node to another, whichever of the two has dialled (that is a Link)."""

    src: str
    dst: str


@dataclass(frozen=True, slots=True)
class LinkShape:
    """What happens to a flow. `cut`: all of it vanishes. `delay` and `jitter` in seconds: each packet takes that much
    longer, give or take the jitter, in order still. `loss` is the share of packets that vanish, 0 to 1. `rate` in bytes
    a second, no more than which passes."""

    cut: bool = False
    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    rate: float = math.inf

    def __and__(self, other: LinkShape) -> LinkShape:
        """Both at once, as of two such links in a row. Jitters of independent delays add up by their squares."""
        return LinkShape(
            self.cut or other.cut,
            self.delay + other.delay,
            math.hypot(self.jitter, other.jitter),
            1.0 - (1.0 - self.loss) * (1.0 - other.loss),
            min(self.rate, other.rate),
        )


PLAIN = LinkShape()
"""As the network is by itself."""
CUT = LinkShape(cut=True)
