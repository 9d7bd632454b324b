"""The only way to disturb nodes: ledger first, then inject, prove, hold, prove again, heal, prove healed."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import anyio.to_thread

from harness.engine.budget import EXCEED, FaultBudget, Toll, what
from harness.engine.ledger import Ledger
from harness.engine.patience import Patience
from harness.engine.seed import derive
from harness.engine.stage import InjectionContext, Stage
from harness.engine.tasks import plain
from harness.engine.wiring import Wiring
from harness.errors import FaultError, HarnessError
from harness.plugin.contract.base import Config
from harness.plugin.contract.context import FaultControl
from harness.plugin.contract.fault import Fault, FaultContext, FaultRecord, FaultTurn, Proof
from harness.plugin.contract.node import Node, NodeState
from harness.record.events import Event, FaultSkipped, FaultsScheduled, FaultStaged
from harness.record.text import figure, one_line

HEAL_WITHIN = 120.0
"""Seconds after which a healing that does not end is given up: teardown must come."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Injection:
    """One fault on its targets, and where to tell of its stages."""

    id: str
    fault: Fault[Any]
    context: FaultContext
    by: str
    turn: int | None
    emit: Callable[[Event], None]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(node.name for node in self.context.targets)

    def stage(self, stage: str, seen: Mapping[str, Any] | None = None, error: str = "") -> None:
        event = FaultStaged(self.id, self.fault.name, self.names, stage, self.by, seen or {}, error)
        if stage == "intended":
            event = dataclasses.replace(event, options=_options(self.fault.config), turn=self.turn)
        self.emit(event)

    def failed(self, how: str, why: str) -> FaultError:
        return FaultError(f"{what(self.fault, self.names)} {how}: {why}")


def _options(config: Config) -> dict[str, Any]:
    """As a playbook has them."""
    return config.model_dump(mode="json", exclude_defaults=True)


def _instead(proof: Proof) -> str:
    """What was seen in the place of what should have been, for people."""
    told = "; ".join(f"{key}: {figure(value)}" for key, value in proof.seen.items() if value not in ({}, [], (), ""))
    return f"seen instead: {one_line(told, MOST) or 'nothing'}"


def _turn_of(by: str, number: int) -> str:
    return f"turn {number} of {by}"


LATE = "late"
"""As which fault it stands in the history that a node has not been started yet."""
MOST = 400
"""Characters of what was seen that a sentence tells; the journal has all of it."""
_HEALED = {True: "healed", None: "healing-unproven", False: "not-healed"}


class Faults(FaultControl):
    """Keeps the run's faults: on disk in the ledger, in the journal, and as history for expectations.

    `fail` is told of a fault that could not be healed when there is nobody left to raise it to."""

    def __init__(
        self,
        ledger: Ledger,
        budget: FaultBudget,
        stage: Stage,
        wiring: Wiring,
        emit: Callable[[Event], None],
        patience: Patience,
        fail: Callable[[str, HarnessError], None],
    ) -> None:
        self._ledger = ledger
        self._budget = budget
        self._stage = stage
        self._wiring = wiring
        self._clock = stage.clock
        self._emit = emit
        self._patience = patience
        self._fail = fail
        self._count = 0
        self._absent: dict[str, str] = {}  # node that is not in the network → the record of that
        self._coming: dict[str, str] = {}  # node that a fault brings into the network, until that is proven → the fault
        self._records: dict[str, FaultRecord] = {}
        self._doubts: list[tuple[str, str]] = []
        self._held: dict[str, Toll] = {}  # fault → what it takes while it holds
        self._over = anyio.Event()  # the next fault that is over; then there is another one
        self._unhealed: dict[str, _Injection] = {}
        recorded = stage.recorded
        # Turns, and other faults, that were to be played again and were not → why.
        self._missed = dict.fromkeys(recorded.unscheduled, "it was of no schedule") if recorded is not None else {}

    @property
    def history(self) -> Sequence[FaultRecord]:
        return tuple(self._records.values())

    @property
    def doubts(self) -> Sequence[str]:
        return tuple(
            f"whether {record.fault} of {', '.join(record.targets)} ({id}) {what} could not be told"
            for id, what in self._doubts
            for record in (self._records[id],)
        )

    def disturbed(self, node: str) -> Sequence[tuple[float, float | None]]:
        return tuple(
            (record.injected_at, record.healed_at)
            for record in self._records.values()
            if node in record.targets and record.injected_at is not None
        )

    @property
    def absent(self) -> Sequence[str]:
        return tuple(self._absent)

    def late(self, names: Iterable[str]) -> None:
        """These are not there yet."""
        for name in names:
            self._leaves(name, LATE, "topology", self._clock.now())

    def joined(self, name: str) -> None:
        """A node was started: it is there, if it was not."""
        if id := self._absent.pop(name, ""):
            del self._held[id]
            self._tell_over()
            self._records[id] = dataclasses.replace(self._records[id], healed_at=self._clock.now(), healing_proven=True)

    def _leaves(self, name: str, fault: str, by: str, since: float) -> None:
        """It takes no part until it joins: that stands in the history as a fault of its own."""
        if name in self._absent:
            return
        self._count += 1
        id = self._absent[name] = f"absent {self._count}"
        downs = frozenset({name})
        self._held[id] = Toll(downs)
        self._records[id] = FaultRecord(id, fault, (name,), by, injected_at=since, proven=True, downs=downs)

    def _has_taken(self, one: _Injection) -> None:
        """Who was stopped by a fault after which nodes are gone is absent from now on."""
        since = self._records[one.id].injected_at
        for name in one.fault.gone(one.names):
            if since is not None and self._stage.nodes[name].state is NodeState.STOPPED:
                self._leaves(name, one.fault.name, one.by, since)

    def refuses(self, fault: Fault[Any], targets: Sequence[Node]) -> str:
        names = [node.name for node in targets]
        toll = self._budget.toll(fault, names)
        if coming := ", ".join(sorted(self._budget.lost(toll) & self._coming.keys())):
            return f"{coming} is joining the network, by another fault"
        try:
            fault.comes(names, self._absent_for(""))
        except FaultError as error:
            return str(error)
        refused = self._budget.refuses(what(fault, names), toll, self._holding, self._dead)
        return self._budget.pointless(fault, names) or refused

    def _absent_for(self, fault: str) -> Sequence[str]:
        """Who is absent and is not brought back by another fault; whom this one brings back comes first."""
        there = [name for name in self._absent if self._coming.get(name, fault) == fault]
        return sorted(there, key=lambda name: name not in self._coming)

    def _has_brought(self, fault: str) -> None:
        """Whom it has brought are nodes like any other from now on."""
        if mine := [name for name, of in self._coming.items() if of == fault]:
            for name in mine:
                del self._coming[name]
            self._tell_over()

    @property
    def _holding(self) -> Toll:
        return Toll().union(self._held.values())

    @property
    def _dead(self) -> frozenset[str]:
        return frozenset(name for name, node in self._stage.nodes.items() if node.state is NodeState.EXITED)

    async def one_over(self) -> bool:
        if not self._held.keys() - self._absent.values():
            return False
        await self._over.wait()
        return True

    def _tell_over(self) -> None:
        over, self._over = self._over, anyio.Event()
        over.set()

    async def heal_rest(self) -> None:
        """Heal once more what could not be healed, last first, before the network is judged. That it could not be is
        told already, and stays told."""
        for one in reversed(tuple(self._unhealed.values())):
            with suppress(FaultError):
                await self._heal(one)

    @property
    def missed(self) -> Sequence[str]:
        """What the run that is played again had injected, and this one has not: a sentence each."""
        return tuple(f"{which}: {why}" for which, why in self._missed.items())

    def schedule(self, turns: Sequence[FaultTurn], *, by: str) -> Sequence[FaultTurn]:
        if self._stage.recorded is not None:
            turns = self._stage.recorded.turns[by]
            taken = (_turn_of(by, number) for number, turn in enumerate(turns) if turn.taken)
            self._missed |= dict.fromkeys(taken, "it was not come to")
        elif why := self._budget.refuses_all(turns):
            raise FaultError(f"no turn of {by} can ever be taken: {why}; {EXCEED}")
        told = [
            {
                "at": turn.at,
                "fault": turn.fault.name,
                "targets": list(turn.targets),
                "options": _options(turn.config),
                "duration": turn.duration,
            }
            for turn in turns
        ]
        self._emit(FaultsScheduled(by, tuple(told), self._stage.schedule_seed))
        return turns

    def skip(self, turn: int, why: str, *, by: str) -> None:
        self._emit(FaultSkipped(by, turn, why))
        if (which := _turn_of(by, turn)) in self._missed:
            self._missed[which] = why

    @asynccontextmanager
    async def apply(
        self, fault: Fault[Any], targets: Sequence[Node], *, by: str, turn: int | None = None
    ) -> AsyncIterator[FaultRecord]:
        self._count += 1
        id = f"f{self._count}"
        stage = self._stage
        # What a turn draws is its own, whatever number of faults came before it.
        rng = derive(stage.seed, by, id) if turn is None else derive(stage.schedule_seed, by, f"turn {turn}")
        context = InjectionContext(id, targets, stage, self._wiring, rng, lambda: self._absent_for(id))
        one = _Injection(id, fault, context, by, turn, self._emit)
        if why := self.refuses(fault, targets):
            raise one.failed("is not allowed", why)
        toll, before = self._budget.toll(fault, one.names), self._holding | Toll(self._dead)
        self._held[one.id] = toll  # before anything is awaited: who comes now must see it
        self._coming |= dict.fromkeys(fault.comes(one.names, self._absent_for("")), one.id)
        downs = toll.down | (self._budget.lost(before | toll) - self._budget.lost(before))
        self._records[one.id] = FaultRecord(one.id, fault.name, one.names, by, downs=downs)
        if turn is not None:
            self._missed.pop(_turn_of(by, turn), None)
        try:
            undo = f"heal {fault.name} of {', '.join(one.names)}"
            await anyio.to_thread.run_sync(self._ledger.intend, one.id, fault.name, one.names, undo)
            one.stage("intended")
            async with self._healing(one):
                self._update(one, injected_at=self._clock.now())
                await self._inject(one)
                self._has_brought(one.id)
                yield self._records[one.id]
                await self._prove(one, "did not hold")
        finally:
            self._held.pop(one.id, None)
            self._has_brought(one.id)
            self._tell_over()

    async def _inject(self, one: _Injection) -> None:
        await self._attempt(one, lambda: one.fault.inject(one.context), "not-applied", "was not applied")
        one.stage("injected")
        proof = await self._prove(one, "was not applied")
        self._update(one, proven=proof.holds)
        one.stage("unproven" if proof.holds is None else "proven", seen=proof.seen)

    async def _prove(self, one: _Injection, otherwise: str) -> Proof:
        proof: Proof = await self._attempt(one, lambda: one.fault.prove(one.context), "not-applied", otherwise)
        if proof.holds is None:
            self._doubts.append((one.id, "was there"))
        if proof.holds is False:
            one.stage("not-applied", seen=proof.seen)
            self._update(one, proven=False)
            raise one.failed(otherwise, _instead(proof))
        return proof

    @asynccontextmanager
    async def _healing(self, one: _Injection) -> AsyncIterator[None]:
        """Heal on leaving, whatever the body came to. What the body raised is raised; a healing that failed adds to
        it, or, when the body was cancelled, is told to the run."""
        before: BaseException | None = None
        try:
            yield
        except BaseException as error:
            before = error
            raise
        finally:
            with anyio.CancelScope(shield=True):
                try:
                    await self._heal(one)
                except FaultError as error:
                    if before is None:
                        raise
                    if isinstance(before, HarnessError):
                        raise FaultError(f"{before}; {error}") from before
                    self._fail(one.by, error)

    async def _heal(self, one: _Injection) -> None:
        one.stage("healing")
        self._unhealed[one.id] = one
        with anyio.move_on_after(HEAL_WITHIN) as limit:
            await self._attempt(one, lambda: one.fault.heal(one.context), "not-healed", "was not healed")
            self._update(one, healed_at=self._clock.now())
            try:
                async with self._patience.until_hurried() as unhurried:
                    proof = await self._attempt(
                        one, lambda: one.fault.prove_healed(one.context), "not-healed", "was not healed"
                    )
            finally:
                self._has_taken(one)  # not before: who is absent may be brought back at once
            if unhurried.cancelled_caught:
                one.stage("not-healed", error="nobody waited for the proof")
                del self._unhealed[one.id]
                return
            self._update(one, healing_proven=proof.holds)
            one.stage(_HEALED[proof.holds], seen=proof.seen)
            if proof.holds is None:
                self._doubts.append((one.id, "is gone"))
            if proof.holds is False:
                raise one.failed("was not healed", _instead(proof))
            await anyio.to_thread.run_sync(self._ledger.healed, one.id)
            del self._unhealed[one.id]
        if limit.cancelled_caught:
            one.stage("not-healed", error=f"it took more than {HEAL_WITHIN:g} s")
            raise one.failed("was not healed", f"it took more than {HEAL_WITHIN:g} s")

    async def _attempt(self, one: _Injection, call: Callable[[], Awaitable[Any]], stage: str, how: str) -> Any:
        """Call into the fault. A plugin's bug leaves the same doubt as a refusal of the machine. Raises FaultError."""
        try:
            return await call()
        except Exception as error:
            cause = plain(error)
            why = str(cause) if isinstance(cause, HarnessError) else f"{type(cause).__name__}: {cause}"
            one.stage(stage, error=why)
            raise one.failed(how, why) from error

    def _update(self, one: _Injection, **changes: Any) -> None:
        self._records[one.id] = dataclasses.replace(self._records[one.id], **changes)
