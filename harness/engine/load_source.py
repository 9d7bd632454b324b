"""Where the load of a run comes from: this machine, or those of the inventory's group `load`."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from harness.clock import Clock
from harness.engine.placement import SENDER_PORT
from harness.engine.tasks import all_of
from harness.errors import InfrastructureError
from harness.load.bundle import NAME, sender_pyz
from harness.load.here import process_here
from harness.load.job import Job
from harness.load.senders import Senders, Source, senders
from harness.load.station import ALONE
from harness.load.there import About, Station
from harness.plugin.contract.chain import Artifact, Chain
from harness.plugin.contract.deployer import Deployment, PlannedNode
from harness.plugin.contract.machine import Address, Service, ServiceSpec
from harness.plugin.contract.node import Node
from harness.record.text import counted

PER_SENDER = 15_000.0
"""Requests a second that one process is given at most, where nothing is said of how many there are to be."""
POLL = 0.1
"""Seconds between two looks at whether a machine is ready to send: it cannot tell us, we have to ask."""
LAST_WORDS = 2000
SECRET = "secret"


@dataclass(frozen=True, slots=True)
class _Site:
    """A machine that is ready to send."""

    station: Station
    about: About


class LoadSource:
    """`tell` is called with a level ("info", "warning") and a sentence."""

    def __init__(self, chain: Chain[Any], clock: Clock, tell: Callable[[str, str], None]) -> None:
        self._chain = chain
        self._clock = clock
        self._tell = tell
        self._deployment: Deployment | None = None
        self._sites: list[_Site] = []

    async def begin(
        self, planned: Sequence[PlannedNode], deployment: Deployment, log: Callable[[str], Path], within: float
    ) -> None:
        """Have these machines ready to send, in so many seconds; `log` says where what one says goes. Raises
        InfrastructureError."""
        if not planned:
            return
        program = Artifact(NAME, await anyio.to_thread.run_sync(sender_pyz))
        sites: dict[str, _Site] = {}

        async def one(sender: PlannedNode) -> None:
            sites[sender.spec.name] = await self._begin(sender, deployment, program, log(sender.spec.name), within)

        await all_of(partial(one, sender) for sender in planned)
        self._deployment = deployment
        self._sites = [sites[sender.spec.name] for sender in planned]
        for site in self._sites:
            about, name = site.about, site.station.machine
            said = f"{name}: Python {about.python}, {counted(about.cpus, 'CPU')}, {about.parser} on {about.loop}"
            self._tell("info", f"load comes from {said}")
            if (about.parser, about.loop) != ("httptools", "uvloop"):
                self._tell("warning", f"load from {name} costs more than it could: {_WHY_SLOW}")

    @asynccontextmanager
    async def senders(self, job: Job, peak: float, processes: int | None, most: int | None) -> AsyncIterator[Senders]:
        """See Context.senders."""
        places: list[tuple[Source, int]] = [(site.station.sender, site.about.cpus) for site in self._sites]
        places = places or [(process_here, os.cpu_count() or 1)]
        counts = [processes or _enough(peak / len(places), cpus) for _, cpus in places]
        each_in_turn = [
            source
            for nth in range(max(counts))
            for (source, _), count in zip(places, counts, strict=True)
            if nth < count
        ]
        async with senders(job, each_in_turn[:most]) as those:
            if clocks := those.clocks:
                known = ", ".join(f"{1000 * bound:.3g} ms of sender {name}" for name, _, bound in clocks)
                self._tell("info", f"clocks are known to {known}")
            yield those

    def reaches(self, node: Node, port: str) -> Address:
        """See Context.sent_to."""
        placement = self._deployment.placements.get(node.name) if self._deployment is not None else None
        if placement is None:  # we send; or nobody knows better than we do
            return node.endpoint(port)
        return Address(placement.advertise, placement.ports[port or self._chain.roles[node.spec.role].api_port])

    async def _begin(
        self, sender: PlannedNode, deployment: Deployment, program: Artifact, log: Path, within: float
    ) -> _Site:
        placement = deployment.placements[sender.spec.name]
        machine, folder = placement.machine, placement.directory
        path = await deployment.provide(machine, program)
        secret = secrets.token_hex(32)
        await machine.put(secret.encode(), folder / SECRET, 0o600)
        where = (placement.bind, str(placement.ports[SENDER_PORT]), str(folder / SECRET))
        argv = (machine.python, *ALONE, str(path), "serve", *where)
        service = await machine.spawn(ServiceSpec(sender.spec.name, argv, folder, log))
        at = deployment.endpoint(sender.spec.name, SENDER_PORT)
        station = Station(sender.host.name, at.host, at.port, secret, partial(_end_of, log))
        return _Site(station, await self._answer(station, service, within))

    async def _answer(self, station: Station, service: Service, within: float) -> About:
        """Wait for it. Raises InfrastructureError when it ends, or does not answer in time."""
        give_up = self._clock.now() + within
        while True:
            try:
                return await station.about()
            except InfrastructureError:
                if service.exit is not None or self._clock.now() >= give_up:
                    raise
            await self._clock.sleep(POLL)


_WHY_SLOW = "its Python or its architecture is not the controller's, and compiled code cannot be brought there"


def _enough(peak: float, cpus: int) -> int:
    """Processes for so many requests a second."""
    return max(1, min(cpus, round(peak / PER_SENDER + 0.5)))


async def _end_of(log: Path) -> str:
    def read() -> str:
        try:
            return log.read_bytes()[-LAST_WORDS:].decode("utf-8", "replace").strip()
        except FileNotFoundError:
            return ""

    return await anyio.to_thread.run_sync(read)
