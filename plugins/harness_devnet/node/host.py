"""What the protocol needs of the world around it: clocks, timers, and a way to its peers. A test brings its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Host(Protocol):
    """Everything that the protocol core cannot do by itself."""

    def wall(self) -> float:
        """Unix seconds."""
        ...

    def now(self) -> float:
        """Monotonic seconds."""
        ...

    def later(self, delay: float, call: Callable[[], None]) -> None:
        """Call once, `delay` seconds from now."""
        ...

    def send(self, peer: str, message: bytes) -> None:
        """Send to a connected peer, by name; it may be lost with the connection."""
        ...
