"""Listening until somebody ends it."""

from __future__ import annotations

import ipaddress
import signal
import socket
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
        reachable = own_address(address) if ipaddress.ip_address(address).is_unspecified else address
        name = f"[{reachable}]" if ":" in reachable else reachable
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
            tell(f"http://{name}:{bound}/" + (f"?token={token}" if token else ""))
            async for _ in received:
                break
    finally:
        await runner.cleanup()


def own_address(unspecified: str) -> str:
    """By which others most likely reach a machine that listens at all its addresses: the one it has on its way out,
    or its name where there is no way. Nothing is sent."""
    family, out = (socket.AF_INET6, "2001:db8::1") if ":" in unspecified else (socket.AF_INET, "192.0.2.1")
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((out, 9))
        except OSError:
            return socket.gethostname()
        return str(probe.getsockname()[0])
