"""Ours: the sender of harness.load in a process of its own."""

from __future__ import annotations

from dataclasses import dataclass

from figures import Figures, NotHereError


@dataclass(frozen=True)
class OwnWord:
    """What a generator says of its schedule itself: requests sent, and dropped for want of a free connection; lateness
    of sending in seconds, None where it tells none."""

    sent: int
    dropped: int
    p50: float | None = None
    p99: float | None = None
    longest: float | None = None


def ours(url: str, body: bytes, connections: int, seconds: float, core: int) -> Figures:
    """As many requests as it can send on these connections."""
    raise NotHereError("not built yet")


def scheduled(url: str, body: bytes, connections: int, seconds: float, core: int, rate: float) -> OwnWord:
    """So many requests per second, evenly spaced, on these connections at most."""
    raise NotHereError("not built yet")
