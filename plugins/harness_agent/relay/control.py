"""The controller's end of one relay: questions and answers, a line of JSON each."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import anyio

from harness.api import Address, Flow, InfrastructureError, Link, LinkShape

SOURCE = Path(__file__).with_name("program.py")
PATIENCE = 30.0
"""Seconds that a relay may take to do what it is asked, on a machine that may be busy, or out of reach for a moment."""
AGAIN = 5.0
"""Seconds after which it is told again what it may be told twice: its answer was lost with a connection."""


def argv(python: str) -> tuple[str, ...]:
    """The relay as a command of a machine that has nothing of ours. It needs the standard library alone: isolated,
    without site, it starts quickly."""
    return (python, "-I", "-S", "-X", "utf8", "-c", SOURCE.read_text("utf-8"))


@dataclass(frozen=True, slots=True)
class Door:
    """Where a relay is to take what goes over a link, port 0 being any, and where that is to go."""

    link: Link
    at: Address
    target: Address


class Line(Protocol):
    """A way to a relay. What it says goes to `Relay.hear`, from the event loop's thread."""

    async def tell(self, line: str, *, repeatable: bool) -> None:
        """Send it a line, perhaps twice where that is `repeatable`. Raises InfrastructureError."""

    async def ended(self) -> str:
        """Wait until there is no relay any more; how it ended."""


class Relay:
    """One relay process. `line` is to be set before anything is asked."""

    line: Line

    def __init__(self, machine: str) -> None:
        self.machine = machine
        self.name = f"the link relay of {machine}"
        self._watching: asyncio.Task[None] | None = None
        self._asking = anyio.Lock()
        self._asked = 0
        self._doors: dict[Link, Door] = {}
        self._answer: asyncio.Future[dict[str, Any]] | None = None

    async def listen(self, doors: Sequence[Door]) -> Sequence[int]:
        """From now on it takes what comes to these doors; their ports. Raises InfrastructureError."""
        told = [(d.at.host, d.at.port, d.target.host, d.target.port, d.link.src, d.link.dst) for d in doors]
        answer = await self._ask(repeatable=False, listen=told)
        ports: Sequence[int] = answer["ports"]
        self._doors.update((door.link, door) for door in doors)
        return ports

    def has(self, link: Link) -> bool:
        """Whether it has a door of this link."""
        return link in self._doors

    @asynccontextmanager
    async def passage(self, link: Link, port: int) -> AsyncIterator[int]:
        """Another door of a link that it has, as long as the context is open, that leads to this port of the same
        machine: the door's own port. Raises InfrastructureError."""
        door = self._doors[link]
        told = (door.at.host, 0, door.target.host, port, link.src, link.dst)
        [opened] = (await self._ask(repeatable=False, listen=[told]))["ports"]
        try:
            yield opened
        finally:
            with anyio.CancelScope(shield=True):
                await self._ask(repeatable=True, close=[opened])

    async def shape(self, shapes: Mapping[Flow, LinkShape]) -> None:
        """Do exactly this, as far as it passes here. Raises InfrastructureError when it is not certain that it is so:
        also when the relay is gone, and there is nothing to be done."""
        await self._ask(repeatable=True, shape=[(flow.src, flow.dst, _told(shape)) for flow, shape in shapes.items()])

    def watch(self, warn: Callable[[str, str], None]) -> None:
        """Tell (machine, sentence) of its end, should that come before `release`: whatever comes of the nodes then is
        not their fault."""

        async def watch() -> None:
            warn(
                self.machine, f"{self.name} has ended ({await self.line.ended()}): nodes do not reach one another there"
            )

        self._watching = asyncio.create_task(watch(), name=self.name)

    def release(self) -> None:
        """Its end comes as it should."""
        if self._watching is not None:
            self._watching.cancel()

    def hear(self, said: str) -> None:
        """What the relay said: an answer, be it one that nobody waits for any more."""
        answer = json.loads(said)
        if self._answer is not None and not self._answer.done() and answer["id"] == self._asked:
            self._answer.set_result(answer)

    async def _ask(self, *, repeatable: bool, **request: Any) -> dict[str, Any]:
        """One question at a time. Once asked, it waits for the answer though the caller be cancelled: half a cut is
        what nobody could undo."""
        async with self._asking:
            answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
            self._answer = answer
            self._asked += 1
            with anyio.CancelScope(shield=True):
                ended = asyncio.ensure_future(self.line.ended())
                try:
                    with anyio.move_on_after(PATIENCE):
                        while not answer.done() and not ended.done():
                            await self.line.tell(json.dumps({"id": self._asked, **request}), repeatable=repeatable)
                            await asyncio.wait(
                                (answer, ended),
                                timeout=AGAIN if repeatable else None,
                                return_when=asyncio.FIRST_COMPLETED,
                            )
                finally:
                    ended.cancel()
        if not answer.done():
            over = ended.done() and not ended.cancelled()
            raise InfrastructureError(
                f"{self.name} " + (f"has ended ({ended.result()})" if over else f"gave no answer in {PATIENCE:g} s")
            )
        told = answer.result()
        if "error" in told:
            raise InfrastructureError(f"{self.name}: {told['error']}")
        return told


def _told(shape: LinkShape) -> dict[str, Any]:
    """As the program takes it: what is not said is as it is by itself."""
    told: dict[str, Any] = {"cut": True} if shape.cut else {}
    if shape.delay or shape.jitter:
        told.update(delay=shape.delay, jitter=shape.jitter)
    if shape.rate != math.inf:
        told["rate"] = shape.rate
    return told
