"""Asking something of a run that goes on, from another process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream

from harness.control.address import address
from harness.control.protocol import MAX_LINE, FaultRequest, decode, encode
from harness.errors import HarnessError

ANSWER_WITHIN = 10.0
"""Seconds that a controller may take to answer what costs it nothing."""
INJECTED_WITHIN = 150.0
"""Seconds that it may take to inject a fault and prove it."""


class ControlError(HarnessError):
    """The run cannot be asked, or says no."""


class ControlClient:
    """Asks the run in this directory. Every request has a connection of its own: a run that has ended meanwhile is told
    as such."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def faults(self) -> list[dict[str, Any]]:
        """The faults that can be injected by hand: {name, about, options: JSON Schema, why: "" or why it cannot be in
        this run}. Raises ControlError, as all of these."""
        reply = await self._ask({"do": "faults"}, ANSWER_WITHIN)
        faults: list[dict[str, Any]] = reply.get("faults", [])
        return faults

    async def pause(self) -> None:
        """Hold the workloads."""
        await self._ask({"do": "pause"}, ANSWER_WITHIN)

    async def resume(self) -> None:
        """Let them go on."""
        await self._ask({"do": "resume"}, ANSWER_WITHIN)

    async def abort(self) -> None:
        """End the run now; it is taken down as after Ctrl-C."""
        await self._ask({"do": "abort"}, ANSWER_WITHIN)

    async def inject(self, request: FaultRequest) -> None:
        """Inject a fault; returns when it is proven to be there. It is healed by the run after its duration."""
        await self._ask({"do": "fault", **request.asked()}, INJECTED_WITHIN)

    async def _ask(self, request: Mapping[str, Any], within: float) -> dict[str, Any]:
        try:
            with anyio.fail_after(within), address(self._folder) as where:
                async with await anyio.connect_unix(where) as stream:
                    await stream.send(encode(request))
                    line = await BufferedByteReceiveStream(stream).receive_until(b"\n", MAX_LINE)
        except TimeoutError:
            raise ControlError(f"the run did not answer within {within:g} s") from None
        except (OSError, anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError) as error:
            raise ControlError(f"the run cannot be asked: it has ended, or is on another machine ({error})") from error
        reply = decode(line)
        if reply.get("ok") is not True:
            raise ControlError(str(reply.get("error") or "the run said no"))
        return reply
