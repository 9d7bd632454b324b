"""What shapes links by queues of the kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import anyio

from harness.api import (
    PLAIN,
    FaultError,
    Flow,
    InfrastructureError,
    Link,
    LinkShape,
    Machine,
    MachineCapability,
)
from harness_agent.nft import IP, Session
from harness_agent.relay import LinkShaper, straight
from harness_agent.tc.commands import Peer, changes, setup, undo
from harness_agent.tc.survey import Survey

WITHIN = 30.0
"""Seconds that tc may take, on a machine that may be busy."""
QUEUES = frozenset({MachineCapability.LINK_DELAY, MachineCapability.LINK_RATE})
"""What queues can do to links at best."""
FIELDS = {
    MachineCapability.LINK_CONTROL: ("cut", "loss"),
    MachineCapability.LINK_DELAY: ("delay", "jitter"),
    MachineCapability.LINK_RATE: ("rate",),
}
"""What of a shape is whose, where several share the work."""


class TcShaper:
    """By a root of ours on each interface that leads to peers, where a node's packets leave, and those of no other one.
    It is there while something is done to them. How it is removed is in the machine's ledger before it is made: it goes
    with the run, also with one whose controller died."""

    def __init__(
        self, machines: Mapping[str, Machine], seen: Mapping[str, Survey], sessions: Sequence[Session]
    ) -> None:
        """Both by the nodes' names."""
        self.lacks = {
            what: f"{machines[node].name}: {why}"
            for node in sorted(seen, reverse=True)
            for what, why in seen[node].lacks.items()
        }
        """Why what cannot be done, of the first machine that cannot do it: all are needed."""
        self.can = QUEUES - self.lacks.keys()
        self._machines = machines
        self._seen = seen
        self._sessions = sessions
        self._numbers = {node: number for number, node in enumerate(sorted(seen))}
        self._done: dict[tuple[str, str], list[Peer]] = {}
        self._shaping = anyio.Lock()

    async def shape(self, shapes: Mapping[Flow, LinkShape]) -> None:
        if any(shape.cut or shape.loss for shape in shapes.values()):
            raise FaultError("packets are not dropped by queues")
        problems: list[str] = []

        async def one(node: str, device: str) -> None:
            try:
                await self._apply(node, device, self._peers(node, device, shapes))
            except InfrastructureError as error:
                problems.append(str(error))

        async with self._shaping:
            with anyio.CancelScope(shield=True):  # what is half done is what nobody could undo
                async with anyio.create_task_group() as tasks:
                    for node, told in self._seen.items():
                        for device in told.roots:
                            tasks.start_soon(one, node, device)
        if problems:
            raise FaultError(f"links are not as they were to be: {'; '.join(sorted(problems))}")

    def mechanisms(self, shape: LinkShape) -> frozenset[str]:
        return frozenset({"tc"})

    def passage(self, link: Link, port: int) -> AbstractAsyncContextManager[int]:
        return straight(port)

    def close(self) -> None:
        """Queues go by the machines' ledgers, as everything else does."""

    def _peers(self, node: str, device: str, shapes: Mapping[Flow, LinkShape]) -> list[Peer]:
        """Whom this node reaches by that interface, and what is done to that."""
        found: list[Peer] = []
        for peer, ways in self._seen[node].peers.items():
            shape = shapes.get(Flow(node, peer), PLAIN)
            # As it is known here, and as it sends from: it may have several, and is answered at the latter.
            known: set[IP] = {way.theirs for way in ways if way.device == device}
            if shape != PLAIN and known:
                known |= {way.ours for way in self._seen[peer].peers[node]}
                addresses = tuple(sorted(known, key=lambda ip: (ip.version, int(ip))))
                found.append(Peer(self._numbers[peer], addresses, shape))
        return found

    async def _apply(self, node: str, device: str, peers: list[Peer]) -> None:
        machine, told, before = self._machines[node], self._seen[node], self._done.get((node, device))
        entry = f"queues of {device}"
        if before is None:
            if not peers:
                return
            what = f"{entry}, which had {told.roots[device]}"
            await machine.ledger_add(entry, [undo(told.tc, device)], what)
            self._done[node, device] = []
            await self._rebuild(node, device, peers)
        elif not peers:
            await self._run(machine, undo(told.tc, device), "")
            await machine.ledger_remove(entry)
            del self._done[node, device]
            return
        elif lines := changes(device, before, peers):
            try:
                await self._run(machine, (told.tc, "-batch", "-"), "\n".join(lines) + "\n")
            except InfrastructureError:  # tc stops in the middle, or a connection was lost on the way
                await self._rebuild(node, device, peers)
        self._done[node, device] = peers

    async def _rebuild(self, node: str, device: str, peers: list[Peer]) -> None:
        machine, tc = self._machines[node], self._seen[node].tc
        lines = [*setup(device, self._sessions), *changes(device, [], peers)]
        await self._run(machine, undo(tc, device), "")
        await self._run(machine, (tc, "-batch", "-"), "\n".join(lines) + "\n")

    async def _run(self, machine: Machine, argv: Sequence[str], said: str) -> None:
        done = await machine.run(argv, input=said.encode(), timeout=WITHIN, become=True)
        if done.returncode != 0:
            raise InfrastructureError(f"{machine.name}: tc: {done.stderr.decode(errors='replace')[:300].strip()}")


class Shared:
    """Several that share the work: each does what it is asked for by FIELDS. `way` is how links' traffic goes."""

    def __init__(self, parts: Mapping[MachineCapability, LinkShaper], way: LinkShaper) -> None:
        self._parts = parts
        self._way = way

    async def shape(self, shapes: Mapping[Flow, LinkShape]) -> None:
        work: dict[int, tuple[LinkShaper, list[str]]] = {}
        for what, shaper in self._parts.items():
            work.setdefault(id(shaper), (shaper, []))[1].extend(FIELDS[what])
        able = {field for _, fields in work.values() for field in fields}
        failed: list[str] = []
        for field in {field for fields in FIELDS.values() for field in fields} - able:
            if any(getattr(shape, field) != getattr(PLAIN, field) for shape in shapes.values()):
                failed.append(f"nothing was set up here for links' {field}: nothing in the playbook needed it")
        for shaper, fields in work.values():
            some = {flow: _part(shape, fields) for flow, shape in shapes.items()}
            try:
                await shaper.shape({flow: shape for flow, shape in some.items() if shape != PLAIN})
            except FaultError as error:
                failed.append(str(error))
        if failed:
            raise FaultError("; ".join(failed))

    def mechanisms(self, shape: LinkShape) -> frozenset[str]:
        work = ((shaper, _part(shape, FIELDS[what])) for what, shaper in self._parts.items())
        return frozenset[str]().union(*(shaper.mechanisms(some) for shaper, some in work if some != PLAIN))

    def passage(self, link: Link, port: int) -> AbstractAsyncContextManager[int]:
        return self._way.passage(link, port)

    def close(self) -> None:
        for shaper in {id(shaper): shaper for shaper in self._parts.values()}.values():
            shaper.close()


def _part(shape: LinkShape, fields: Sequence[str]) -> LinkShape:
    return replace(PLAIN, **{field: getattr(shape, field) for field in fields})
