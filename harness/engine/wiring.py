"""The links between a run's nodes: who does what to them, and how nodes reach one another."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

import anyio

from harness.engine.rate_script import TAKEN
from harness.engine.tasks import all_of
from harness.engine.undisturbed import Undisturbed
from harness.errors import FaultError, InfrastructureError, Unsupported
from harness.plugin.contract.chain import Artifact
from harness.plugin.contract.deployer import Deployment
from harness.plugin.contract.fault import Reach, Throughput
from harness.plugin.contract.machine import Address
from harness.plugin.contract.node import Node
from harness.spec.links import CUT, PLAIN, Flow, LinkShape
from harness.spec.topology import Link

SCRIPT_TAKES = 20.0
"""Seconds that a machine may take to start Python and tell what it saw, beyond the patience of the dials."""
PORTS = range(20000, 32000)
"""Where a port is taken for a moment: below those that kernels give to who dials."""
PORTS_TRIED = 4
TURN_WITHIN = 60.0
"""Seconds that who wants to see how many bytes pass waits for others who do."""
_BUSY = "others measured it all the time"


class Wiring:
    """What several faults do to the same traffic adds up; each takes back what it did and nothing more."""

    def __init__(self, links: Sequence[Link], nodes: Mapping[str, Node]) -> None:
        self.links = links
        self.deployment: Deployment | None = None
        """None before there is one."""
        self._nodes = nodes
        self._shapes: dict[str, Mapping[Flow, LinkShape]] = {}
        self._changing: tuple[str, Mapping[Flow, LinkShape]] = "", {}  # whose traffic is being shaped anew
        self._shaping = anyio.Lock()
        self._undisturbed = Undisturbed()
        self._source = Path(__file__).with_name("reach_script.py").read_text()
        self._rates = Path(__file__).with_name("rate_script.py").read_text()

    async def shape(self, owner: str, shapes: Mapping[Flow, LinkShape]) -> None:
        """See FaultContext.shape. What could not be done stays wanted, so that taking it back is tried as well."""
        async with self._shaping:
            if shapes == self._shapes.get(owner, {}):
                return
            before = self._shapes.get(owner, {})
            self._shapes[owner] = dict(shapes)
            self._changing = owner, {f: CUT for f in {*before, *shapes} if before.get(f) != shapes.get(f)}
            try:
                await self._deployed.shape_links(combined(self._shapes.values()))
            except Unsupported as error:
                raise FaultError(str(error)) from error
            finally:
                self._changing = "", {}
            if not shapes:
                del self._shapes[owner]

    def others(self, owner: str) -> Mapping[Flow, LinkShape]:
        """What is wanted of links by all but this one. What of it is being done or taken back at this moment counts as
        cut: how such a link is cannot be told."""
        return combined(shapes for who, shapes in (*self._shapes.items(), self._changing) if who != owner)

    def mechanisms(self, shapes: Iterable[LinkShape]) -> frozenset[str]:
        """See FaultContext.mechanisms."""
        return frozenset[str]().union(*map(self._deployed.mechanisms, set(shapes)))

    async def reach(self, links: Iterable[Link], patience: float) -> Mapping[Link, Reach]:
        """See FaultContext.reach."""
        by_source: dict[str, list[Link]] = {}
        links = tuple(links)
        for link in links:
            by_source.setdefault(link.src, []).append(link)
        found: dict[Link, Reach] = {}

        async def ask(name: str, dialled: Sequence[Link]) -> None:
            found.update(zip(dialled, await self._ask(name, dialled, patience), strict=True))

        async with self._undisturbed.dialling(links):
            await all_of(partial(ask, name, dialled) for name, dialled in by_source.items())
        return found

    async def throughput(self, links: Iterable[Link], size: int, patience: float) -> Mapping[Link, Throughput]:
        """See FaultContext.throughput."""
        links = tuple(links)
        found = {link: Throughput(error=_BUSY) for link in links}

        async def measure(link: Link) -> None:
            try:
                for _ in range(PORTS_TRIED):
                    try:
                        found[link] = await self._measure(link, size, patience)
                        return
                    except _PortTaken as error:
                        found[link] = Throughput(error=str(error))
            except (InfrastructureError, Unsupported) as error:
                found[link] = Throughput(error=str(error))

        with anyio.move_on_after(TURN_WITHIN) as turn:
            async with self._undisturbed.measuring(links):
                turn.deadline = math.inf
                await all_of(partial(measure, link) for link in links)
        return found

    async def provide(self, node: Node, artifact: Artifact) -> PurePosixPath:
        """See FaultContext.provide."""
        return await self._deployed.provide(node.machine, artifact)

    async def _ask(self, name: str, links: Sequence[Link], patience: float) -> Sequence[Reach]:
        machine = self._nodes[name].machine
        addresses = [(at.host, at.port) for at in map(self._deployed.link_address, links)]
        question = json.dumps([patience, addresses])
        argv = (machine.python, "-I", "-S", "-c", self._source, question)
        try:
            ran = await machine.run(argv, timeout=patience + SCRIPT_TAKES)
            if ran.returncode != 0:
                raise InfrastructureError(ran.stderr.decode(errors="replace").strip()[-300:])
            return [Reach(*answer) for answer in json.loads(ran.stdout)]
        except InfrastructureError as error:
            return [Reach(None, None, f"{machine.name} could not be asked: {error}")] * len(links)

    async def _measure(self, link: Link, size: int, patience: float) -> Throughput:
        ends = {name: self._nodes[name].machine for name in (link.src, link.dst)}
        port, token = secrets.choice(PORTS), secrets.token_hex(8)
        bind = self._deployed.placements[link.dst].bind
        answer = b""

        async def run(name: str, what: str, host: str, port: int) -> bytes:
            argv = (ends[name].python, "-I", "-S", "-c", self._rates, what)
            ran = await ends[name].run(
                (*argv, json.dumps([host, port, token, size, patience])), timeout=patience + SCRIPT_TAKES
            )
            if ran.returncode == TAKEN:
                taken.cancel()
                raise _PortTaken(f"{ends[name].name}: port {port} is somebody else's")
            if ran.returncode != 0:
                raise InfrastructureError(f"{ends[name].name}: {ran.stderr.decode(errors='replace').strip()[-300:]}")
            return ran.stdout

        taken = anyio.CancelScope()

        async def send(at: Address) -> None:
            nonlocal answer
            with taken:
                answer = await run(link.src, "send", at.host, at.port)

        async with self._deployed.passage(link, port) as at:
            await all_of((partial(send, at), partial(run, link.dst, "sink", bind, port)))
        there, back, error = json.loads(answer)
        return Throughput(size / there if there else None, size / back if back else None, error)

    @property
    def _deployed(self) -> Deployment:
        if self.deployment is None:
            raise Unsupported("there are no links to disturb before there is a deployment")
        return self.deployment


class _PortTaken(InfrastructureError):
    """Somebody listens there."""


def combined(several: Iterable[Mapping[Flow, LinkShape]]) -> dict[Flow, LinkShape]:
    """All of these at once; flows to which nothing is done are left out."""
    together: dict[Flow, LinkShape] = {}
    for shapes in several:
        for flow, shape in shapes.items():
            together[flow] = together.get(flow, PLAIN) & shape
    return {flow: shape for flow, shape in sorted(together.items()) if shape != PLAIN}
