"""`python -m harness.load.worker`: one sender in a process of its own, told what to do on stdin, telling on stdout.

It ends when stdin does, so with whoever started it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import signal
import socket
import stat
import time

from harness.load import loops
from harness.load.job import Job, Start
from harness.load.sender import Sender
from harness.load.tally import Told
from harness.load.wire import Frame, Frames, Kind, Result, frame, pack_result, unpack_redirects, unpack_shots

CHUNK = 1 << 20


class Worker:
    """Carries out what comes in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._sender: Sender | None = None
        self._ending: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Until the other end closes, or all is done. Raises ValueError for what no controller says."""
        frames = Frames()
        try:
            while data := await self._reader.read(CHUNK):
                for each in frames.feed(data):
                    await self._take(each)
        finally:
            if self._sender is not None:
                self._sender.close()
                self._tell(Kind.DONE)

    async def _take(self, given: Frame) -> None:
        kind, payload = given.kind, given.payload
        if kind is Kind.JOB:
            self._sender = Sender(Job.from_json(payload), self._results, self._told)
            wrong = await self._sender.open()
            gc.collect()
            gc.freeze()  # nothing that is here now is ever garbage
            self._tell(Kind.READY, "\n".join(wrong).encode("utf-8", "replace"))
            return
        if kind is Kind.CLOCK:
            self._tell(Kind.TIME, repr(time.monotonic()).encode())
            return
        if self._sender is None:
            raise ValueError(f"{kind.name} before JOB")
        sender = self._sender
        match kind:
            case Kind.SHOTS:
                for shot in unpack_shots(payload):
                    sender.shots.feed(shot)
            case Kind.START:
                sender.start(Start.from_json(payload))
                self._ending = asyncio.create_task(self._end())
            case Kind.PAUSE:
                sender.pause()
            case Kind.RESUME:
                sender.resume()
            case Kind.STOP:
                sender.stop()
            case Kind.REDIRECT:
                for name, host, port, trusted in unpack_redirects(payload):
                    sender.redirect(name, host, port, trusted)
            case _:
                raise ValueError(f"{kind.name} is not for a sender")

    async def _end(self) -> None:
        assert self._sender is not None
        await self._sender.finished()
        self._tell(Kind.DONE)

    def _results(self, results: list[Result]) -> None:
        self._tell(Kind.RESULTS, b"".join(map(pack_result, results)))

    def _told(self, told: Told) -> None:
        self._tell(Kind.TALLY, told.to_json())

    def _tell(self, kind: Kind, payload: bytes = b"") -> None:
        if not self._writer.transport.is_closing():  # else nobody is left to tell
            self._writer.write(frame(kind, payload))


async def _serve() -> None:
    """Speak with whoever started this process, on its standard streams: one connection as both, or two of whatever
    kind (uvloop gives its children sockets for pipes)."""
    if _one_connection():
        reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=os.dup(0)), limit=CHUNK)
    else:
        reader, writer = await _pipes()
    with contextlib.suppress(ConnectionError):  # nobody is left to tell
        try:
            await Worker(reader, writer).run()
        except ValueError as error:
            writer.write(frame(Kind.FAILED, str(error).encode("utf-8", "replace")))
        finally:
            writer.close()
            await writer.wait_closed()


def _one_connection() -> bool:
    return stat.S_ISSOCK(os.fstat(0).st_mode) and os.path.sameopenfile(0, 1)


async def _pipes() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=CHUNK)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(0), "rb"))
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, os.fdopen(os.dup(1), "wb"))
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


def main() -> None:
    # The terminal's Ctrl-C is the controller's affair: it ends this process, by closing stdin.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    loops.run(_serve())


if __name__ == "__main__":
    main()
