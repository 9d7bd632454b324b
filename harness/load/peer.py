"""One sender as its controller sees it, wherever it runs: told, listened to, its clock known."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

import anyio

from harness.errors import InfrastructureError
from harness.load.job import Job, Start
from harness.load.lost import Schedule
from harness.load.offset import Asking, Offset
from harness.load.tally import Tally, Told
from harness.load.wire import Frame, Frames, Kind, Result, Shot, frame, pack_shots, unpack_results

SILENT = 15.0
"""Seconds in which a sender that was started must have told something: it does so every second."""
ASKED_AT_FIRST = 8
ASK_EVERY = 5.0
"""Seconds between two questions for the time."""
LEADS = 2.0
"""What a sender elsewhere is to do at a moment it is told so many round trips before."""


class Line(ABC):
    """A stream of bytes to a sender and back. `elsewhere`: at its other end is another clock."""

    elsewhere = False

    @abstractmethod
    async def send(self, data: bytes) -> None:
        """Raises anyio.BrokenResourceError, anyio.ClosedResourceError."""

    @abstractmethod
    async def receive(self) -> bytes:
        """Raises anyio.EndOfStream, and what `send` does."""

    @abstractmethod
    async def end(self) -> None:
        """Nothing more is going to be sent. Raises what `send` does."""

    @abstractmethod
    async def last_words(self) -> str:
        """What it said besides, once it has ended; "" where nobody knows."""


class Peer:
    """The sender at the other end of a line; `name` is for people, `machine` where it is, "" for this one."""

    def __init__(self, name: str, line: Line, machine: str = "") -> None:
        self.name = name
        self.machine = machine
        self.unreachable: tuple[str, ...] = ()
        """The targets to which no connection could be made beforehand, and why."""
        self.clock = Offset()
        self._line = line
        self._frames = Frames()
        self._left: list[Frame] = []
        self._lock = anyio.Lock()
        self._asked = 0.0
        self._owes_time = False
        self._job: Job | None = None
        self._schedule: Schedule | None = None  # from its start to its last word
        self._offered = self._in_flight = 0

    async def begin(self, job: Job) -> None:
        """Have it start."""
        self._job = job
        await self.tell(Kind.JOB, job.to_json())

    async def ready(self) -> None:
        """Wait until its connections are open, or could not be opened, and its clock is known."""
        given = await self._next()
        if given.kind is not Kind.READY:
            raise await self._gone(given)
        self.unreachable = tuple(given.payload.decode("utf-8", "replace").splitlines())
        for _ in range(ASKED_AT_FIRST if self._line.elsewhere else 0):
            await self._ask()
            await self._hear_time(await self._next())

    async def feed(self, shots: Sequence[Shot]) -> None:
        await self.tell(Kind.SHOTS, pack_shots(shots))

    async def start(self, start: Start) -> None:
        assert self._job is not None
        self._schedule = Schedule(start, self._job.number, self._job.among)
        await self.tell(Kind.START, start.later(self._offset()).to_json())

    async def pause(self) -> None:
        if self._schedule is not None:
            self._schedule.pause(time.monotonic())
        await self.tell(Kind.PAUSE)

    async def resume(self) -> None:
        if self._schedule is not None:
            self._schedule.resume(time.monotonic())
        await self.tell(Kind.RESUME)

    async def stop(self) -> None:
        if self._schedule is not None:
            self._schedule.stop(time.monotonic())
        await self.tell(Kind.STOP)

    @property
    def lead(self) -> float:
        """Seconds before something that it must have been told of it."""
        return LEADS * self.clock.round_trip

    async def tell(self, kind: Kind, payload: bytes = b"") -> None:
        """Raises InfrastructureError when it is gone, or does not take it."""
        try:
            async with self._lock:
                with anyio.move_on_after(SILENT) as limit:
                    await self._line.send(frame(kind, payload))
            if limit.cancelled_caught:
                raise self._silent()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise await self._gone() from None

    async def listen(self, results: Callable[[Sequence[Result]], None], told: Callable[[Told], None]) -> None:
        """Take what it tells, in our clock's time, until it is done. Raises InfrastructureError when it ends before
        that, or tells nothing for long."""
        while (given := await self._heard()).kind is not Kind.DONE:
            if given.kind is Kind.RESULTS:
                results(self._in_our_time(unpack_results(given.payload)))
            elif given.kind is Kind.TALLY:
                one = Told.from_json(given.payload).later(-self._offset())
                self._offered += one.tally.offered
                self._in_flight = one.in_flight
                told(one)
                await self._ask_again()
            else:
                await self._hear_time(given)
        self._schedule = None

    async def end(self, results: Callable[[Sequence[Result]], None], told: Callable[[Told], None]) -> None:
        """Have it end, and take its last words, as far as it has any: else tell in its place what is lost with it."""
        try:
            with suppress(InfrastructureError, anyio.BrokenResourceError, anyio.ClosedResourceError):
                await self._line.end()
                await self.listen(results, told)
        finally:
            if self._schedule is not None:
                with anyio.CancelScope(shield=True):
                    told(await self._lost(self._schedule))

    async def _lost(self, schedule: Schedule) -> Told:
        """Of what was in flight, the answer; of what was due since its last word, everything. Of no time: what it cost
        is not known."""
        self._schedule = None
        schedule.stop(time.monotonic())
        due = await anyio.to_thread.run_sync(schedule.due)  # of a long drive, they are many
        untold = max(0, due - self._offered)
        tally = Tally(offered=untold, untold=untold, cut_off=self._in_flight)
        return Told(schedule.until, schedule.until, tally, in_flight=0, cpu=0.0, memory=0)

    # Its clock

    def _offset(self) -> float:
        return self.clock.at(time.monotonic())[0]

    def _in_our_time(self, results: Iterable[Result]) -> list[Result]:
        if not self._line.elsewhere:
            return list(results)
        offset = self._offset()
        return [result.later(-offset) for result in results]

    async def _ask(self) -> None:
        self._asked, self._owes_time = time.monotonic(), True
        await self.tell(Kind.CLOCK)

    async def _ask_again(self) -> None:
        if self._line.elsewhere and not self._owes_time and time.monotonic() - self._asked >= ASK_EVERY:
            with suppress(InfrastructureError):  # it has ended, and has perhaps said how it went
                await self._ask()

    async def _hear_time(self, given: Frame) -> None:
        if given.kind is not Kind.TIME:
            raise await self._gone(given)
        self._owes_time = False
        self.clock.add(Asking(self._asked, float(given.payload), time.monotonic()))

    # What comes from it

    async def _heard(self) -> Frame:
        with anyio.move_on_after(SILENT):
            return await self._next()
        raise self._silent()

    def _silent(self) -> InfrastructureError:
        self._ended()
        return InfrastructureError(f"the sender {self.name} hangs: it has told nothing for {SILENT:g} s")

    async def _next(self) -> Frame:
        while not self._left:
            try:
                self._left.extend(self._frames.feed(await self._line.receive()))
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                raise await self._gone() from None
        return self._left.pop(0)

    async def _gone(self, given: Frame | None = None) -> InfrastructureError:
        """What to raise for a sender that said this last, or nothing more."""
        self._ended()
        if given is not None and given.kind is Kind.FAILED:
            return InfrastructureError(f"the sender {self.name}: {given.payload.decode('utf-8', 'replace')}")
        last = await self._line.last_words()
        return InfrastructureError(f"the sender {self.name} ended before it was done" + (f": {last}" if last else ""))

    def _ended(self) -> None:
        if self._schedule is not None:
            self._schedule.stop(time.monotonic())
