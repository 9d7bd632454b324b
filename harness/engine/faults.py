"""The only way to disturb nodes: ledger first, then inject, prove, hold, heal, prove healed."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread

from harness.clock import Clock
from harness.engine.budget import FaultBudget
from harness.engine.ledger import Ledger
from harness.errors import FaultError, HarnessError, UsageError
from harness.plugin.contract.context import FaultControl
from harness.plugin.contract.fault import Fault, FaultRecord
from harness.plugin.contract.node import Node, NodeState
from harness.record.events import Event, FaultStaged


class BudgetExceeded(UsageError):
    """These nodes may not be taken down now; ask `allows` first."""


class Faults(FaultControl):
    """Keeps the run's faults: on disk in the ledger, in the journal, and as history for expectations."""

    def __init__(
        self,
        ledger: Ledger,
        budget: FaultBudget,
        nodes: Mapping[str, Node],
        clock: Clock,
        emit: Callable[[Event], None],
    ) -> None:
        self._ledger = ledger
        self._budget = budget
        self._nodes = nodes
        self._clock = clock
        self._emit = emit
        self._records: dict[str, FaultRecord] = {}
        self._holding: dict[str, frozenset[str]] = {}

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
        held = frozenset[str]().union(*self._holding.values())
        dead = {name for name, node in self._nodes.items() if node.state is NodeState.EXITED}
        return self._budget.allows({node.name for node in targets} | held | dead)

    @asynccontextmanager
    async def apply(self, fault: Fault[Any], targets: Sequence[Node], *, by: str) -> AsyncIterator[FaultRecord]:
        names = tuple(node.name for node in targets)
        if fault.takes_down and not self.allows(targets):
            raise BudgetExceeded(f"{fault.name} of {', '.join(names)}: the fault budget is {self._budget}")
        fault_id = f"f{len(self._records) + 1}"
        self._records[fault_id] = FaultRecord(fault_id, fault.name, names, by)
        stage = _Stages(fault_id, fault.name, names, by, self._emit)
        if fault.takes_down:  # counted before anything is awaited: two that are begun together share one budget
            self._holding[fault_id] = frozenset(names)
        try:
            undo = f"heal {fault.name} of {', '.join(names)}"
            await anyio.to_thread.run_sync(self._ledger.intend, fault_id, fault.name, names, undo)
            stage("intended")
            try:
                self._update(fault_id, injected_at=self._clock.now())
                await self._inject(fault, targets, fault_id, stage)
                yield self._records[fault_id]
            finally:
                with anyio.CancelScope(shield=True):
                    await self._heal(fault, targets, fault_id, stage)
        finally:
            self._holding.pop(fault_id, None)

    async def _inject(self, fault: Fault[Any], targets: Sequence[Node], fault_id: str, stage: _Stages) -> None:
        try:
            await fault.inject(targets)
            stage("injected")
            proof = await fault.prove(targets)
        except Exception as error:  # a plugin's bug leaves the same doubt as a refusal of the machine
            stage("not-applied", error=_told(error))
            raise FaultError(f"{fault.name} of {stage.who} was not applied: {_told(error)}") from error
        self._update(fault_id, proven=proof.holds)
        stage("proven" if proof.holds else "not-applied", seen=proof.seen)
        if not proof.holds:
            raise FaultError(f"{fault.name} of {stage.who} was not applied: seen instead {dict(proof.seen)}")

    async def _heal(self, fault: Fault[Any], targets: Sequence[Node], fault_id: str, stage: _Stages) -> None:
        try:
            stage("healing")
            await fault.heal(targets)
            self._update(fault_id, healed_at=self._clock.now())
            proof = await fault.prove_healed(targets)
        except Exception as error:  # as above
            stage("not-healed", error=_told(error))
            raise FaultError(f"{fault.name} of {stage.who} was not healed: {_told(error)}") from error
        self._update(fault_id, healing_proven=proof.holds)
        stage("healed" if proof.holds else "not-healed", seen=proof.seen)
        if not proof.holds:
            raise FaultError(f"{fault.name} of {stage.who} was not healed: seen instead {dict(proof.seen)}")
        await anyio.to_thread.run_sync(self._ledger.healed, fault_id)

    def _update(self, fault_id: str, **changes: Any) -> None:
        self._records[fault_id] = dataclasses.replace(self._records[fault_id], **changes)


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"


@dataclasses.dataclass(frozen=True, slots=True)
class _Stages:
    """Journals one fault's stages."""

    fault_id: str
    fault: str
    targets: tuple[str, ...]
    by: str
    emit: Callable[[Event], None]

    @property
    def who(self) -> str:
        return ", ".join(self.targets)

    def __call__(self, stage: str, seen: Mapping[str, Any] | None = None, error: str = "") -> None:
        self.emit(FaultStaged(self.fault_id, self.fault, self.targets, stage, self.by, seen or {}, error))
