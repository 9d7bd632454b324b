"""Many senders are begun at once and ended at once: round trips to many machines do not add up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import anyio
import pytest

from harness.errors import InfrastructureError
from harness.load import senders as module
from harness.load.job import Job
from harness.load.peer import Peer
from harness.load.senders import senders

pytestmark = pytest.mark.anyio

MANY = 5
LONG = 5.0


class Gate:
    """Opens when so many wait for it."""

    def __init__(self, many: int) -> None:
        self._missing = many
        self._open = anyio.Event()

    async def wait(self) -> None:
        self._missing -= 1
        if not self._missing:
            self._open.set()
        await self._open.wait()


class Machine:
    """A sender that is only told things. What it does takes until all do the same."""

    unreachable = ()
    machine = "far"

    def __init__(self, name: str, ready: Gate) -> None:
        self.name = name
        self.number = -1
        self._ready = ready

    async def begin(self, job: Job) -> None:
        self.number = job.number

    async def ready(self) -> None:
        await self._ready.wait()


async def test_they_begin_and_end_at_once_and_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OPEN_WITHIN", LONG)
    connected, ready, ended = Gate(MANY), Gate(MANY), Gate(MANY)
    machines: list[Machine] = []

    @asynccontextmanager
    async def source(name: str) -> AsyncIterator[Peer]:
        machine = Machine(name, ready)
        machines.append(machine)
        await connected.wait()
        try:
            yield cast(Peer, machine)
        finally:
            await ended.wait()

    with anyio.fail_after(2 * LONG):
        async with senders(Job(()), [source] * MANY) as those:
            assert those.names == tuple(f"{n + 1} of {MANY}" for n in range(MANY))
    assert sorted((machine.number, machine.name) for machine in machines) == list(enumerate(those.names))


async def test_all_that_cannot_begin_are_named_and_the_others_end() -> None:
    ended: list[str] = []

    @asynccontextmanager
    async def source(name: str) -> AsyncIterator[Peer]:
        if name[0] in "24":
            raise InfrastructureError(f"machine {name[0]} is not there")
        try:
            ready = Gate(1)
            yield cast(Peer, Machine(name, ready))
        finally:
            ended.append(name[0])

    with pytest.raises(InfrastructureError) as told:
        async with senders(Job(()), [source] * MANY):
            pytest.fail("they began")
    assert sorted(str(told.value).splitlines()) == ["machine 2 is not there", "machine 4 is not there"]
    assert sorted(ended) == ["1", "3", "5"]
