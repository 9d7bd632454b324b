"""The controller's end: senders in processes of their own, fed, steered and listened to."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, Process

from harness.errors import InfrastructureError
from harness.load.job import Job, Start
from harness.load.tally import Told
from harness.load.wire import (
    NO_LANE,
    Frame,
    Frames,
    Kind,
    Redirect,
    Result,
    Shot,
    frame,
    pack_redirects,
    pack_shots,
    unpack_results,
)

OPEN_WITHIN = 30.0
"""Seconds in which a sender must have started and opened its connections, or have failed to."""
END_WITHIN = 2.0
SILENT = 15.0
"""Seconds in which a sender that was started must have told something: it does so every second."""
CHUNK = 1 << 20
LAST_WORDS = 2000

OnResults = Callable[[int, Sequence[Result]], None]
OnTold = Callable[[int, Told], None]


class Senders:
    """Some senders that share one job. Lanes are theirs in turn: lane n is sender n modulo their number's.

    `unreachable`: which targets could not be connected to beforehand, and why."""

    def __init__(self, senders: Sequence[_Sender]) -> None:
        self._senders = senders
        self.unreachable = tuple(dict.fromkeys(line for sender in senders for line in sender.unreachable))

    def __len__(self) -> int:
        return len(self._senders)

    async def feed(self, shots: Iterable[Shot]) -> None:
        """Hand over what is to be sent, in this order. Raises InfrastructureError when a sender is gone."""
        shares: list[list[Shot]] = [[] for _ in self._senders]
        for shot in shots:
            number = shot.serial if shot.lane == NO_LANE else shot.lane
            shares[number % len(shares)].append(shot)
        for sender, share in zip(self._senders, shares, strict=True):
            if share:
                await sender.tell(Kind.SHOTS, pack_shots(share))

    async def start(self, start: Start) -> None:
        await self._tell_all(Kind.START, start.to_json())

    async def pause(self) -> None:
        """Nothing is sent until `resume`; what is due meanwhile comes later by as long."""
        await self._tell_all(Kind.PAUSE)

    async def resume(self) -> None:
        await self._tell_all(Kind.RESUME)

    async def stop(self) -> None:
        """No moment comes any more. What is in flight goes on to its end."""
        await self._tell_all(Kind.STOP)

    async def redirect(self, redirects: Sequence[Redirect]) -> None:
        """Where targets are from now on, and which of them to trust."""
        await self._tell_all(Kind.REDIRECT, pack_redirects(redirects))

    async def listen(self, results: OnResults, told: OnTold) -> None:
        """Take what they tell, with the sender's number, until all are done. Raises InfrastructureError when one ends
        before it is."""
        async with anyio.create_task_group() as tasks:
            for number, sender in enumerate(self._senders):
                tasks.start_soon(sender.listen, partial(results, number), partial(told, number))

    async def last_words(self, results: OnResults, told: OnTold) -> None:
        """End them now, and take what they still have to tell: what is in flight is told to be cut off."""
        async with anyio.create_task_group() as tasks:
            for number, sender in enumerate(self._senders):
                tasks.start_soon(sender.end, partial(results, number), partial(told, number))

    async def _tell_all(self, kind: Kind, payload: bytes = b"") -> None:
        for sender in self._senders:
            await sender.tell(kind, payload)


class _Sender:
    """One process."""

    def __init__(self, name: str, process: Process) -> None:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        self.unreachable: tuple[str, ...] = ()
        self._name = name
        self._to: ByteSendStream = process.stdin
        self._from: ByteReceiveStream = process.stdout
        self._errors: ByteReceiveStream = process.stderr
        self._frames = Frames()
        self._left: list[Frame] = []
        self._lock = anyio.Lock()

    async def begin(self, job: Job) -> None:
        """Have it start."""
        await self.tell(Kind.JOB, job.to_json())

    async def ready(self) -> None:
        """Wait until its connections are open, or could not be opened."""
        given = await self._next()
        if given.kind is not Kind.READY:
            raise await self._gone(given)
        self.unreachable = tuple(given.payload.decode("utf-8", "replace").splitlines())

    async def tell(self, kind: Kind, payload: bytes = b"") -> None:
        try:
            async with self._lock:
                with anyio.move_on_after(SILENT) as limit:
                    await self._to.send(frame(kind, payload))
            if limit.cancelled_caught:
                raise self._silent()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise await self._gone() from None

    async def listen(self, results: Callable[[Sequence[Result]], None], told: Callable[[Told], None]) -> None:
        while (given := await self._heard()).kind is not Kind.DONE:
            if given.kind is Kind.RESULTS:
                results(list(unpack_results(given.payload)))
            elif given.kind is Kind.TALLY:
                told(Told.from_json(given.payload))
            else:
                raise await self._gone(given)

    async def _heard(self) -> Frame:
        with anyio.move_on_after(SILENT):
            return await self._next()
        raise self._silent()

    def _silent(self) -> InfrastructureError:
        return InfrastructureError(f"the sender {self._name} hangs: it has told nothing for {SILENT:g} s")

    async def end(self, results: Callable[[Sequence[Result]], None], told: Callable[[Told], None]) -> None:
        """Have it end, and take its last words, as far as it has any."""
        with suppress(InfrastructureError):
            await self._to.aclose()
            await self.listen(results, told)

    async def _next(self) -> Frame:
        while not self._left:
            try:
                self._left.extend(self._frames.feed(await self._from.receive(CHUNK)))
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                raise await self._gone() from None
        return self._left.pop(0)

    async def _gone(self, given: Frame | None = None) -> InfrastructureError:
        """What to raise for a sender that said this last, or nothing more."""
        if given is not None and given.kind is Kind.FAILED:
            return InfrastructureError(f"the sender {self._name}: {given.payload.decode('utf-8', 'replace')}")
        words = b""
        with anyio.move_on_after(END_WITHIN), suppress(anyio.EndOfStream, anyio.ClosedResourceError):
            while True:
                words = (words + await self._errors.receive())[-LAST_WORDS:]
        last = words.decode("utf-8", "replace").strip()
        return InfrastructureError(f"the sender {self._name} ended before it was done" + (f": {last}" if last else ""))


@asynccontextmanager
async def senders(job: Job, count: int = 1) -> AsyncIterator[Senders]:
    """So many processes on this machine, their connections open. They end with this context, at once, and with this
    process, however it ends. Raises InfrastructureError when they do not start."""
    async with AsyncExitStack() as stack:
        found = []
        for number in range(count):
            process = await stack.enter_async_context(_process())
            found.append(_Sender(f"{number + 1} of {count} (process {process.pid})", process))
        with anyio.move_on_after(OPEN_WITHIN) as limit:
            for number, sender in enumerate(found):
                await sender.begin(replace(job, number=number, among=count))
            for sender in found:
                await sender.ready()
        if limit.cancelled_caught:
            raise InfrastructureError(f"the senders were not ready within {OPEN_WITHIN:g} s")
        yield Senders(found)


@asynccontextmanager
async def _process() -> AsyncIterator[Process]:
    # -P: a folder "harness" where this was called is not ours. A session of its own: the terminal's Ctrl-C is for the
    # controller, which then ends it.
    argv = [sys.executable, "-P", "-m", "harness.load.worker"]
    process = await anyio.open_process(argv, start_new_session=True)
    try:
        yield process
    finally:
        with anyio.CancelScope(shield=True):
            assert process.stdin is not None
            with suppress(anyio.BrokenResourceError, OSError):
                await process.stdin.aclose()
            with anyio.move_on_after(END_WITHIN):
                await process.wait()
            if process.returncode is None:
                process.kill()
            await process.aclose()
