"""What shapes links by rules of the kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Protocol

import anyio

from harness.api import (
    PLAIN,
    Completed,
    FaultError,
    Flow,
    InfrastructureError,
    Link,
    LinkShape,
    Machine,
    MachineCapability,
    MachineLost,
)
from harness_agent.nft.rules import IP, Session, clashes, loses, removal, ruleset, table_of
from harness_agent.nft.survey import Survey
from harness_agent.relay import LinkShaper, straight

RULES = frozenset({MachineCapability.LINK_CONTROL, MachineCapability.LINK_LOSS})
"""What rules can do to links."""
WITHIN = 30.0
"""Seconds that nft may take, on a machine that may be busy."""


class Ruled(Protocol):
    """What has rules: a machine, or a network namespace. For what is asked of it see Machine."""

    name: str

    async def run(self, argv: Sequence[str], *, input: bytes, timeout: float, become: bool) -> Completed: ...

    async def ledger_add(self, entry: str, undo: Sequence[Sequence[str]], what: str) -> None: ...

    async def ledger_remove(self, entry: str) -> None: ...


Fates = Mapping[str, LinkShape]
"""What becomes of what a node hears, by who has sent it."""


@dataclass(frozen=True, slots=True)
class End:
    """Where a node's packets arrive, and those of no other one. `heard` are the addresses by which it knows packets of
    other nodes."""

    machine: Ruled
    nft: str
    heard: Mapping[str, frozenset[IP]]


class NftShaper:
    """By one table of the run on each machine, that is there while something is done to what the machine hears. How it
    is removed is in the machine's ledger before it is made: it goes with the run, also with one whose controller
    died."""

    def __init__(self, run_id: str, ends: Mapping[str, End], sessions: Sequence[Session] = ()) -> None:
        self.table = table_of(run_id)
        self._entry = f"table inet {self.table}"
        self._ends = ends
        self._sessions = sessions
        self._touched: set[str] = set()
        self._done: dict[str, Fates] = {}
        self._shaping = anyio.Lock()

    @classmethod
    def of(
        cls, run_id: str, machines: Mapping[str, Machine], seen: Mapping[str, Survey], sessions: Sequence[Session]
    ) -> NftShaper | str:
        """From what the nodes' machines have said of each other; or why it does not tell them apart."""
        ends: dict[str, End] = {}
        for node, told in seen.items():
            # Whom it dials, and who dials it: others may have several addresses, and send from another one.
            heard = {
                peer: frozenset(theirs for theirs, _ in pairs) | {ours for _, ours in seen[peer].peers[node]}
                for peer, pairs in told.peers.items()
            }
            own = {ours for pairs in told.peers.values() for _, ours in pairs}
            if problem := clashes({node: own, **heard}):
                return problem
            ends[node] = End(machines[node], told.nft, heard)
        return cls(run_id, ends, sessions)

    async def shape(self, shapes: Mapping[Flow, LinkShape]) -> None:
        lacking = sorted(
            f"{f.src} to {f.dst}" for f, shape in shapes.items() if replace(shape, cut=False, loss=0.0) != PLAIN
        )
        if lacking:
            raise FaultError(f"packets from {', '.join(lacking)} cannot be delayed or slowed down by nft")
        wanted = {node: self._fates(node, shapes) for node in self._ends}
        async with self._shaping:
            with anyio.CancelScope(shield=True):  # half a cut is what nobody could undo
                if between := overlap(self._done, wanted):
                    await self._apply_all(between)  # what fails here is tried again below
                problems = await self._apply_all(wanted)
        if problems:
            raise FaultError(f"links are not as they were to be: {'; '.join(sorted(problems))}")

    def mechanisms(self, shape: LinkShape) -> frozenset[str]:
        return frozenset({"nft"})

    def passage(self, link: Link, port: int) -> AbstractAsyncContextManager[int]:
        return straight(port)

    def close(self) -> None:
        """Tables go by the machines' ledgers, as everything else does."""

    def _fates(self, node: str, shapes: Mapping[Flow, LinkShape]) -> Fates:
        heard = self._ends[node].heard
        return {f.src: shape for f, shape in shapes.items() if f.dst == node and f.src in heard and loses(shape)}

    async def _apply_all(self, wanted: Mapping[str, Fates]) -> list[str]:
        """What went wrong, machine by machine."""
        problems: list[str] = []

        async def one(node: str, fates: Fates) -> None:
            try:
                await self._apply(node, fates)
            except InfrastructureError as error:
                problems.append(str(error))

        async with anyio.create_task_group() as tasks:
            for node, fates in wanted.items():
                tasks.start_soon(one, node, fates)
        return problems

    async def _apply(self, node: str, fates: Fates) -> None:
        end = self._ends[node]
        if fates:
            undo = (end.nft, removal(self.table))
            await end.machine.ledger_add(self._entry, [undo], self._entry)
            self._touched.add(node)
            heard = [(end.heard[src], shape) for src, shape in sorted(fates.items(), key=lambda one: one[0])]
            await self._nft(end, ruleset(self.table, self._sessions, heard))
        elif node in self._touched:
            await self._nft(end, removal(self.table))
            await end.machine.ledger_remove(self._entry)
            self._touched.discard(node)
        self._done[node] = fates

    async def _nft(self, end: End, text: str) -> None:
        """All of it or nothing. Said again where a connection was lost on the way: twice is as once."""
        say = (end.nft, "-f", "-")
        try:
            done = await end.machine.run(say, input=text.encode(), timeout=WITHIN, become=True)
        except MachineLost:
            done = await end.machine.run(say, input=text.encode(), timeout=WITHIN, become=True)
        if done.returncode != 0:
            raise InfrastructureError(f"{end.machine.name}: nft: {done.stderr.decode(errors='replace')[:300].strip()}")


def overlap(old: Mapping[str, Fates], new: Mapping[str, Fates]) -> Mapping[str, Fates]:
    """What is to be done first, at these nodes, where some nodes lose more from now on and others less: machines do not
    change all at once, and in between there must be no moment in which neither is lost. It is the old and the new
    together, where anything new is."""
    together = {node: _worse(old.get(node, {}), fates) for node, fates in new.items()}
    more = {node for node, fates in together.items() if fates != old.get(node, {})}
    less = {node for node, fates in together.items() if fates != new[node]}
    return {node: together[node] for node in more} if more and less and len(more | less) > 1 else {}


def _worse(one: Fates, other: Fates) -> Fates:
    both = {**one, **other}
    return {src: max(one.get(src, shape), other.get(src, shape), key=_lost) for src, shape in both.items()}


def _lost(shape: LinkShape) -> float:
    return 1.0 if shape.cut else shape.loss


class Split:
    """What rules can do is done by rules, the rest by relays: these see streams, and those packets."""

    def __init__(self, rules: LinkShaper, relays: LinkShaper) -> None:
        self._rules = rules
        self._relays = relays

    async def shape(self, shapes: Mapping[Flow, LinkShape]) -> None:
        failed: list[FaultError] = []
        for shaper, part in ((self._rules, _dropped), (self._relays, _passed_on)):
            some = {flow: part(shape) for flow, shape in shapes.items()}
            try:
                await shaper.shape({flow: shape for flow, shape in some.items() if shape != PLAIN})
            except FaultError as error:
                failed.append(error)
        if failed:
            raise failed[0] if len(failed) == 1 else FaultError("; ".join(map(str, failed)))

    def mechanisms(self, shape: LinkShape) -> frozenset[str]:
        work = ((self._rules, _dropped(shape)), (self._relays, _passed_on(shape)))
        return frozenset[str]().union(*(who.mechanisms(some) for who, some in work if some != PLAIN))

    def passage(self, link: Link, port: int) -> AbstractAsyncContextManager[int]:
        return self._relays.passage(link, port)

    def close(self) -> None:
        self._rules.close()
        self._relays.close()


def _dropped(shape: LinkShape) -> LinkShape:
    return LinkShape(cut=shape.cut, loss=shape.loss)


def _passed_on(shape: LinkShape) -> LinkShape:
    return replace(shape, cut=False, loss=0.0)
