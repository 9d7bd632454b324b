"""The only way to disturb nodes: ledger first, then inject, prove, hold, prove again, heal, prove healed."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import PurePosixPath
from random import Random
from typing import Any

import anyio
import anyio.to_thread

from harness.clock import Clock
from harness.engine.budget import EXCEED, FaultBudget, Toll, what
from harness.engine.ledger import Ledger
from harness.engine.patience import Patience
from harness.engine.plan import RecordedFaults
from harness.engine.seed import derive
from harness.engine.tasks import plain
from harness.engine.wiring import Wiring
from harness.errors import FaultError, HarnessError
from harness.plugin.contract.base import Config
from harness.plugin.contract.chain import Artifact, Chain, Network
from harness.plugin.contract.context import FaultControl
from harness.plugin.contract.fault import Fault, FaultContext, FaultRecord, FaultTurn, Proof, Reach, Throughput
from harness.plugin.contract.node import Node, NodeState
from harness.record.events import Event, FaultSkipped, FaultsScheduled, FaultStaged
from harness.spec.links import Flow, LinkShape
from harness.spec.topology import Link

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


def _turn_of(by: str, number: int) -> str:
    return f"turn {number} of {by}"


LATE = "late"
"""As which fault it stands in the history that a node has not been started yet."""
_HEALED = {True: "healed", None: "healing-unproven", False: "not-healed"}


class InjectionContext(FaultContext):
    """One injection's view of the run."""

    def __init__(
        self,
        id: str,
        targets: Sequence[Node],
        stage: Stage,
        wiring: Wiring,
        rng: Random,
        absent: Callable[[], Sequence[str]],
    ) -> None:
        self.targets = targets
        self.nodes = stage.nodes
        self.links = wiring.links
        self.chain = stage.chain
        self.network = stage.network
        self.clock = stage.clock
        self.rng = rng
        self._id = id
        self._wiring = wiring
        self._absent = absent

    @property
    def absent(self) -> Sequence[str]:
        return self._absent()

    async def shape(self, shapes: Mapping[Flow, LinkShape]) -> None:
        await self._wiring.shape(self._id, shapes)

    def shaped_by_others(self) -> Mapping[Flow, LinkShape]:
        return self._wiring.others(self._id)

    async def reach(self, links: Iterable[Link], patience: float) -> Mapping[Link, Reach]:
        return await self._wiring.reach(links, patience)

    async def throughput(self, links: Iterable[Link], size: int, patience: float) -> Mapping[Link, Throughput]:
        return await self._wiring.throughput(links, size, patience)

    async def provide(self, node: Node, artifact: Artifact) -> PurePosixPath:
        return await self._wiring.provide(node, artifact)


@dataclasses.dataclass(frozen=True, slots=True)
class Stage:
    """What faults happen on."""

    chain: Chain[Any]
    network: Network
    nodes: Mapping[str, Node]
    clock: Clock
    seed: int
    recorded: RecordedFaults | None = None

    @property
    def schedule_seed(self) -> int:
        """What fixes the draws of faults that are turns of a schedule: of that which is played."""
        return self.seed if self.recorded is None else self.recorded.seed


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

    def refuses(self, fault: Fault[Any], targets: Sequence[Node]) -> str:
        names = [node.name for node in targets]
        return self._budget.refuses(what(fault, names), self._budget.toll(fault, names), self._holding, self._dead)

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
        context = InjectionContext(id, targets, stage, self._wiring, rng, lambda: self.absent)
        one = _Injection(id, fault, context, by, turn, self._emit)
        if why := self.refuses(fault, targets):
            raise one.failed("is not allowed", why)
        toll, before = self._budget.toll(fault, one.names), self._holding | Toll(self._dead)
        self._held[one.id] = toll  # before anything is awaited: who comes now must see it
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
                yield self._records[one.id]
                await self._prove(one, "did not hold")
        finally:
            self._held.pop(one.id, None)
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
            raise one.failed(otherwise, f"seen instead: {dict(proof.seen)}")
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
            record = self._records[one.id]
            if record.proven and record.injected_at is not None:
                for name in one.fault.gone(one.names):
                    self._leaves(name, record.fault, record.by, record.injected_at)
            self._update(one, healed_at=self._clock.now())
            async with self._patience.until_hurried() as unhurried:
                proof = await self._attempt(
                    one, lambda: one.fault.prove_healed(one.context), "not-healed", "was not healed"
                )
            if unhurried.cancelled_caught:
                one.stage("not-healed", error="nobody waited for the proof")
                del self._unhealed[one.id]
                return
            self._update(one, healing_proven=proof.holds)
            one.stage(_HEALED[proof.holds], seen=proof.seen)
            if proof.holds is None:
                self._doubts.append((one.id, "is gone"))
            if proof.holds is False:
                raise one.failed("was not healed", f"seen instead: {dict(proof.seen)}")
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
