"""The only way to disturb nodes: ledger first, then inject, prove, hold, prove again, heal, prove healed."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread

from harness.clock import Clock
from harness.engine.budget import FaultBudget
from harness.engine.ledger import Ledger
from harness.engine.patience import Patience
from harness.engine.tasks import plain
from harness.errors import FaultError, HarnessError
from harness.plugin.contract.context import FaultControl
from harness.plugin.contract.fault import Fault, FaultRecord, Proof
from harness.plugin.contract.node import Node, NodeState
from harness.record.events import Event, FaultStaged

HEAL_WITHIN = 120.0
"""Seconds after which a healing that does not end is given up: teardown must come."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Injection:
    """One fault on its targets, and where to tell of its stages."""

    id: str
    fault: Fault[Any]
    targets: Sequence[Node]
    by: str
    emit: Callable[[Event], None]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(node.name for node in self.targets)

    def stage(self, stage: str, seen: Mapping[str, Any] | None = None, error: str = "") -> None:
        self.emit(FaultStaged(self.id, self.fault.name, self.names, stage, self.by, seen or {}, error))

    def failed(self, how: str, why: str) -> FaultError:
        return FaultError(f"{self.fault.name} of {', '.join(self.names)} {how}: {why}")


class Faults(FaultControl):
    """Keeps the run's faults: on disk in the ledger, in the journal, and as history for expectations.

    `fail` is told of a fault that could not be healed when there is nobody left to raise it to."""

    def __init__(
        self,
        ledger: Ledger,
        budget: FaultBudget,
        nodes: Mapping[str, Node],
        clock: Clock,
        emit: Callable[[Event], None],
        patience: Patience,
        fail: Callable[[str, HarnessError], None],
    ) -> None:
        self._ledger = ledger
        self._budget = budget
        self._nodes = nodes
        self._clock = clock
        self._emit = emit
        self._patience = patience
        self._fail = fail
        self._records: dict[str, FaultRecord] = {}
        self._down: dict[str, frozenset[str]] = {}  # fault → nodes that it takes down while it holds

    @property
    def history(self) -> Sequence[FaultRecord]:
        return tuple(self._records.values())

    def disturbed(self, node: str) -> Sequence[tuple[float, float | None]]:
        return tuple(
            (record.injected_at, record.healed_at)
            for record in self._records.values()
            if node in record.targets and record.injected_at is not None
        )

    def allows(self, targets: Sequence[Node]) -> bool:
        wanted = {node.name for node in targets}
        held = frozenset[str]().union(*self._down.values())
        dead = {name for name, node in self._nodes.items() if node.state is NodeState.EXITED}
        return not wanted & held and self._budget.allows(wanted | held | dead)

    @asynccontextmanager
    async def apply(self, fault: Fault[Any], targets: Sequence[Node], *, by: str) -> AsyncIterator[FaultRecord]:
        one = _Injection(f"f{len(self._records) + 1}", fault, targets, by, self._emit)
        if fault.takes_down:
            if not self.allows(targets):
                raise one.failed("is not allowed", f"a target is down, or the budget is used up: {self._budget}")
            self._down[one.id] = frozenset(one.names)  # before anything is awaited: who comes now must see it
        self._records[one.id] = FaultRecord(one.id, fault.name, one.names, by, takes_down=fault.takes_down)
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
            self._down.pop(one.id, None)

    async def _inject(self, one: _Injection) -> None:
        await self._attempt(one, lambda: one.fault.inject(one.targets), "not-applied", "was not applied")
        one.stage("injected")
        proof = await self._prove(one, "was not applied")
        self._update(one, proven=True)
        one.stage("proven", seen=proof.seen)

    async def _prove(self, one: _Injection, otherwise: str) -> Proof:
        proof: Proof = await self._attempt(one, lambda: one.fault.prove(one.targets), "not-applied", otherwise)
        if not proof.holds:
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
                        raise FaultError(f"{before}\n{error}") from before
                    self._fail(one.by, error)

    async def _heal(self, one: _Injection) -> None:
        one.stage("healing")
        with anyio.move_on_after(HEAL_WITHIN) as limit:
            await self._attempt(one, lambda: one.fault.heal(one.targets), "not-healed", "was not healed")
            self._update(one, healed_at=self._clock.now())
            async with self._patience.until_hurried() as unhurried:
                proof = await self._attempt(
                    one, lambda: one.fault.prove_healed(one.targets), "not-healed", "was not healed"
                )
            if unhurried.cancelled_caught:
                one.stage("not-healed", error="nobody waited for the proof")
                return
            self._update(one, healing_proven=proof.holds)
            one.stage("healed" if proof.holds else "not-healed", seen=proof.seen)
            if not proof.holds:
                raise one.failed("was not healed", f"seen instead: {dict(proof.seen)}")
            await anyio.to_thread.run_sync(self._ledger.healed, one.id)
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
