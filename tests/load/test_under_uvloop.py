"""Senders that are started from the loop that `harness run` runs on: its children's pipes are sockets."""

from __future__ import annotations

import pytest

from harness.load.arrivals import constant
from harness.load.job import Job, Start
from tests.load.servers import Request, answer, run, serving, shots, target

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


async def test_they_speak_with_their_controller_whatever_its_pipes_are() -> None:
    async def at_once(request: Request) -> bytes:
        return answer()

    async with serving(at_once) as server:
        heard = await run(Job((target(server.port),)), Start(0.0, constant(50, 0.2)), shots(10), 2)
    assert heard.tally.taken == 10
