"""What somebody outside makes of a run while it goes on: its workloads paused, faults by hand, its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio

from harness.clock import Clock
from harness.control.protocol import BadRequest, FaultRequest
from harness.record.events import Event, Steered

ByHand = Callable[[FaultRequest, Callable[[], None]], Awaitable[None]]
"""Injects a fault; calls the second once it is known that this can be tried."""
Offered = Callable[[], Sequence[dict[str, Any]]]


class Steering:
    """One run's. Everything asked for is journalled, with who asked.

    `abort` ends the run as an interruption does; it may be called at any time."""

    def __init__(self, clock: Clock, emit: Callable[[Event], None], abort: Callable[[], None]) -> None:
        self._clock = clock
        self._emit = emit
        self._abort = abort
        self._goes_on = anyio.Event()
        self._goes_on.set()
        self._stands_still = anyio.Event()
        self._paused_at = 0.0
        self._by_hand: ByHand | None = None
        self._offered: Offered | None = None

    @property
    def paused(self) -> bool:
        return not self._goes_on.is_set()

    async def unpaused(self) -> float:
        """Wait while workloads are paused; for how many seconds that was."""
        began = self._clock.now()
        if not self.paused:
            return 0.0
        while self.paused:
            await self._goes_on.wait()
        return self._clock.now() - began

    async def until_paused(self) -> None:
        """Wait until workloads are paused."""
        while not self.paused:
            await self._stands_still.wait()

    def driving(self, by_hand: ByHand, offered: Offered) -> None:
        """The drive has begun: there is something to pause, and faults can be asked for."""
        self._by_hand, self._offered = by_hand, offered

    def driven(self) -> None:
        """The drive is over: what waits goes on to its own end."""
        self._by_hand = self._offered = None
        if self.paused:
            self._resume("the end of the drive")

    def pause(self, by: str) -> None:
        """Raises BadRequest when nothing is driven, or all is paused already."""
        self._must_drive("to pause")
        if self.paused:
            raise BadRequest("its workloads are paused already")
        self._goes_on = anyio.Event()
        self._stands_still.set()
        self._paused_at = self._clock.now()
        self._emit(Steered("pause", by))

    def resume(self, by: str) -> None:
        """Raises BadRequest when nothing is paused."""
        if not self.paused:
            raise BadRequest("its workloads are not paused")
        self._resume(by)

    def _resume(self, by: str) -> None:
        self._emit(Steered("resume", by, f"after {self._clock.now() - self._paused_at:.1f} s"))
        self._stands_still = anyio.Event()
        self._goes_on.set()

    def abort(self, by: str) -> None:
        self._emit(Steered("abort", by))
        self._abort()

    def faults(self) -> Sequence[dict[str, Any]]:
        """See ControlClient.faults. Raises BadRequest outside the drive."""
        self._must_drive("to disturb")
        assert self._offered is not None
        return self._offered()

    async def inject(self, request: FaultRequest, by: str) -> None:
        """Inject a fault, and return when it is proven to be there. Raises BadRequest, or FaultError when it was not
        applied."""
        self._must_drive("to disturb")
        assert self._by_hand is not None
        what = f"{request.fault} of {', '.join(request.targets)} for {request.duration:g} s"
        await self._by_hand(request, lambda: self._emit(Steered("fault", by, what)))

    def _must_drive(self, what: str) -> None:
        if self._by_hand is None:
            raise BadRequest(f"there is nothing {what}: the run is not in its drive")
