"""Waiting in tests for what is to come true: with a deadline, and with a sentence about what did not."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable

import anyio
import pytest

PATIENCE = 30.0
"""Seconds; generous, as machines that run tests are busy."""
_AGAIN = 0.01

CONDITION = "the condition holds"


async def eventually(condition: Callable[[], object], what: str = CONDITION, patience: float = PATIENCE) -> None:
    """Wait until what `condition` gives is true, or what it awaits to; fail, saying `what` did not come true."""
    with anyio.move_on_after(patience):
        while True:
            holds = condition()
            if await holds if inspect.isawaitable(holds) else holds:
                return
            await anyio.sleep(_AGAIN)
    pytest.fail(_said(what, patience))


def wait_until(condition: Callable[[], object], what: str = CONDITION, patience: float = PATIENCE) -> None:
    """The same where nothing else goes on meanwhile."""
    give_up = time.monotonic() + patience
    while not condition():
        if time.monotonic() >= give_up:
            pytest.fail(_said(what, patience))
        time.sleep(_AGAIN)


def _said(what: str, patience: float) -> str:
    return f"it did not come true within {patience:g} s that {what}"
