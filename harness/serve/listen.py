"""Listening until somebody ends it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import anyio
from aiohttp import web

from harness.serve.server import RunServer
from harness.serve.terminal import PATIENCE


async def listen(runs: Path, host: str, port: int, token: str, tell: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; `tell` is told the address to open. Raises OSError when nobody can
    listen there."""
    runner = web.AppRunner(RunServer(runs, token).app(), access_log=None, shutdown_timeout=PATIENCE + 1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        address, bound = runner.addresses[0][:2]
        name = f"[{address}]" if ":" in address else address
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
            tell(f"http://{name}:{bound}/" + (f"?token={token}" if token else ""))
            async for _ in received:
                break
    finally:
        await runner.cleanup()
