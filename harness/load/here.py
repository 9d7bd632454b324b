"""Senders on this machine: processes of ours, spoken with over pipes."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio
from anyio.abc import Process

from harness.load.peer import Line, Peer
from harness.load.station import ending

CHUNK = 1 << 20
END_WITHIN = 2.0
LAST_WORDS = 2000


class _Pipes(Line):
    def __init__(self, process: Process) -> None:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        self._process = process
        self._to, self._from, self._errors = process.stdin, process.stdout, process.stderr
        self._words = b""
        self._reading = anyio.Lock()  # who sends and who listens both want to know why it has ended

    async def send(self, data: bytes) -> None:
        await self._to.send(data)

    async def receive(self) -> bytes:
        return await self._from.receive(CHUNK)

    async def end(self) -> None:
        await self._to.aclose()

    async def last_words(self) -> str:
        with anyio.move_on_after(END_WITHIN), suppress(anyio.EndOfStream, anyio.ClosedResourceError):
            async with self._reading:
                while True:
                    self._words = (self._words + await self._errors.receive())[-LAST_WORDS:]
        with anyio.move_on_after(END_WITHIN):
            await self._process.wait()
        said = self._words.decode("utf-8", "replace").strip()
        return ": ".join(filter(None, (ending(self._process.returncode or 0), said)))


@asynccontextmanager
async def process_here(name: str) -> AsyncIterator[Peer]:
    """One sender. It ends with this context, at once, and with this process, however that ends."""
    # -P: a folder "harness" where this was called is not ours. A session of its own: the terminal's Ctrl-C is for the
    # controller, which then ends it.
    argv = [sys.executable, "-P", "-m", "harness.load.worker"]
    process = await anyio.open_process(argv, start_new_session=True)
    try:
        yield Peer(f"{name} (process {process.pid})", _Pipes(process))
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
