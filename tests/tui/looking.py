"""What a person sees of the app, and a run that answers it."""

from __future__ import annotations

from typing import Any

from harness.control.client import ControlError
from harness.control.protocol import FaultRequest
from harness.tui.app import RunApp
from harness.tui.log_panel import LogPanel


def screen(app: RunApp) -> str:
    """What a person reads, line by line."""
    height = app.size.height
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in lines[:height])


async def settled(app: RunApp, pilot: Any) -> None:
    """All of the journal is read and drawn."""
    await pilot.pause()
    while app.watching.advance(0.0) or app.query_one(LogPanel).advance(float("inf")):
        pass
    for _ in range(2):  # what is drawn first may want more room
        app.draw()
        await pilot.pause()


class Asked:
    """In the place of a run's control socket: remembers what was asked, or says no."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.refuses = ""

    async def _do(self, what: Any) -> None:
        if self.refuses:
            raise ControlError(self.refuses)
        self.said.append(what)

    async def pause(self) -> None:
        await self._do("pause")

    async def resume(self) -> None:
        await self._do("resume")

    async def abort(self) -> None:
        await self._do("abort")

    async def inject(self, request: FaultRequest) -> None:
        await self._do(request)

    async def faults(self) -> list[dict[str, Any]]:
        return [
            {"name": "kill", "about": "SIGKILL: each target's process ends.", "options": {}, "why": ""},
            {"name": "partition", "about": "Parts.", "options": {}, "why": "deployed without link-control"},
        ]
