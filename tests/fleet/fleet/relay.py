"""Links that take their time: a TCP relay that delivers each byte half a round trip after it was sent.

Connections take their time too: the far end hears of one after three half round trips, as with SYN, SYN+ACK, ACK.
Throughput is not limited. Run as `python -m fleet.relay RTT LISTEN:PORT=TARGET:PORT …`, it says "up" and goes on until
its stdin ends."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from dataclasses import dataclass

CHUNK = 65536
IN_FLIGHT = 1024
"""Chunks of one direction that may be on their way: far more than 10 ms of loopback brings."""


@dataclass(frozen=True, slots=True)
class Link:
    listen: tuple[str, int]
    target: tuple[str, int]
    rtt: float
    """Seconds."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from accept to both ends having closed."""
        loop = asyncio.get_running_loop()
        accepted = loop.time()
        with contextlib.closing(writer):
            await asyncio.sleep(1.5 * self.rtt)
            far_reader, far_writer = await asyncio.open_connection(*self.target)
            with contextlib.closing(far_writer), contextlib.suppress(ConnectionError):
                await asyncio.gather(
                    # What the client sent since it knew of the connection has been under way since then.
                    self._pump(reader, far_writer, accepted + 1.5 * self.rtt),
                    self._pump(far_reader, writer, 0.0),
                )

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: float) -> None:
        """Deliver what is read after half a round trip; the very first at `first`, if that is told."""
        loop = asyncio.get_running_loop()
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(IN_FLIGHT)

        async def deliver() -> None:
            while True:
                due, data = await under_way.get()
                if (wait := due - loop.time()) > 0:
                    await asyncio.sleep(wait)
                if not data:
                    writer.write_eof()
                    return
                writer.write(data)
                await writer.drain()

        async def receive() -> None:
            due = first
            while True:
                data = await reader.read(CHUNK)
                await under_way.put((due or loop.time() + self.rtt / 2, data))
                due = 0.0
                if not data:
                    return

        await asyncio.gather(deliver(), receive())


async def relay(links: list[Link]) -> None:
    """Serve these links until stdin ends."""
    async with contextlib.AsyncExitStack() as servers:
        for link in links:
            await servers.enter_async_context(await asyncio.start_server(link.serve, *link.listen, backlog=1024))
        print("up", flush=True)
        await asyncio.to_thread(sys.stdin.buffer.read)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def main() -> None:
    rtt = float(sys.argv[1])
    pairs = [word.split("=") for word in sys.argv[2:]]
    asyncio.run(relay([Link(_address(listen), _address(target), rtt) for listen, target in pairs]))


if __name__ == "__main__":
    main()
