"""A screen's process, and what its browser says to it: anything, as far as we know."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import anyio
from aiohttp import web
from textual_serve.app_service import AppService
from textual_serve.download_manager import DownloadManager

LEAST, MOST = 10, 500
"""Columns or rows that a screen may have: what is drawn costs memory for each cell."""
LONGEST = 1 << 16
"""Bytes of a message; a browser that sends a longer one is hung up on."""
PATIENCE = 5.0
"""Seconds that a screen has to end when it is asked to."""


class ScreenProcess(AppService):
    """Draws on a browser's socket, and ends with it: one that does not when it is asked to is killed."""

    def __init__(self, words: Sequence[str], socket: web.WebSocketResponse) -> None:
        async def close() -> None:
            await socket.close()

        super().__init__(
            f"exec {shlex.join(words)}",  # no shell stays between us and what we may have to kill
            write_bytes=socket.send_bytes,
            write_str=socket.send_str,
            close=close,
            download_manager=DownloadManager(),
        )

    async def stop(self) -> None:
        try:
            with anyio.move_on_after(PATIENCE):
                await super().stop()
                if self._process is not None:
                    await self._process.wait()
        finally:
            if self._process is not None and self._process.returncode is None:
                with suppress(ProcessLookupError):  # it has ended in this moment
                    self._process.kill()
                await self._process.wait()


async def pass_on(text: str, socket: web.WebSocketResponse, screen: AppService) -> None:
    """What the browser's terminal says; anything else is passed over."""
    match _read(text):
        case ["stdin", str(data)]:
            await screen.send_bytes(data.encode(errors="replace"))
        case ["resize", {"width": int(width), "height": int(height)}]:
            await screen.set_terminal_size(within(width), within(height))
        case ["ping", data]:
            await socket.send_json(["pong", data])
        case ["blur", *_]:
            await screen.blur()
        case ["focus", *_]:
            await screen.focus()


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def within(count: int) -> int:
    """Columns or rows that can be drawn."""
    return min(MOST, max(LEAST, count))
