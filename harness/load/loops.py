"""The event loop of a sender: uvloop's where it can be loaded, else Python's own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

try:
    import uvloop
except ImportError:  # a machine to which only Python code could be brought
    NAME = "asyncio"

    def run(main: Coroutine[Any, Any, None]) -> None:
        """As asyncio.run."""
        asyncio.run(main)

else:
    NAME = "uvloop"

    def run(main: Coroutine[Any, Any, None]) -> None:
        """As asyncio.run."""
        uvloop.run(main)
