"""Leases are renewed though the event loop stands still: a plugin that computes for a minute must not end its run.

The agents' clients renew leases in the loop. This thread does so in their stead once the loop does not turn; not for
ever, as a controller that hangs for good is as dead as one that was killed."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence

import anyio

from harness_agent.remote.frames import encode
from harness_ssh.hold import Hold

LONGEST_HANG = 600.0
"""Seconds that a loop may stand still until it counts as dead."""
BEATS = 6
"""In each lease, of which no more than half must have gone by when somebody notices."""
RENEWAL = encode({"id": 0, "do": "renew"})
"""A request whose answer nobody waits for."""


class Heart(threading.Thread):
    """Beats for these holds from `start` to `stop`."""

    def __init__(self, holds: Sequence[Hold], lease: float) -> None:
        super().__init__(name="leases", daemon=True)
        self._holds = holds
        self._pause = lease / BEATS
        self._loop = asyncio.get_running_loop()
        self._turned = time.monotonic()
        self._stopping = threading.Event()

    def stop(self) -> None:
        self._stopping.set()
        if self.is_alive():
            self.join()

    def run(self) -> None:
        while not self._stopping.wait(self._pause):
            stands_still = time.monotonic() - self._turned
            if 1.5 * self._pause < stands_still < LONGEST_HANG:
                self._beat()
            try:
                self._loop.call_soon_threadsafe(self._turn)
            except RuntimeError:  # the loop has ended, and with it all that this is for
                return

    def _turn(self) -> None:
        self._turned = time.monotonic()

    def _beat(self) -> None:
        for hold in self._holds:
            try:
                hold.send_soon(RENEWAL)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                continue  # it is lost, which only the loop can mend
