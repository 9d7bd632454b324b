"""Faults: undoable disturbances, each proven to have taken effect and proven to be gone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.plugin.contract.base import ConfigT, MachineCapability, Plugin
from harness.plugin.contract.node import Node


@dataclass(frozen=True, slots=True)
class Proof:
    """What was looked at to see whether a fault is there, or gone. `seen` is JSON-able evidence."""

    holds: bool
    seen: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FaultRecord:
    """One injected fault, as far as it has come. Times are monotonic seconds; None: not (yet). `takes_down`: its
    targets do not take part in consensus while it holds."""

    id: str
    fault: str
    targets: tuple[str, ...]
    by: str
    injected_at: float | None = None
    healed_at: float | None = None
    proven: bool | None = None
    healing_proven: bool | None = None
    takes_down: bool = True


class Fault(Plugin[ConfigT], ABC):
    """A disturbance of some nodes. One instance is one injection: it may keep what it must remember to heal.

    `takes_down` is True when its targets do not take part in consensus while it holds: it then counts
    against the fault budget."""

    takes_down = True

    def requires_machine(self) -> frozenset[MachineCapability]:
        return frozenset()

    @abstractmethod
    async def inject(self, targets: Sequence[Node]) -> None: ...

    @abstractmethod
    async def prove(self, targets: Sequence[Node]) -> Proof:
        """Look, from outside, whether it holds now."""

    @abstractmethod
    async def heal(self, targets: Sequence[Node]) -> None:
        """Undo it. May be called twice, and when the targets have died in the meantime."""

    @abstractmethod
    async def prove_healed(self, targets: Sequence[Node]) -> Proof:
        """Look, from outside, whether it is gone. Waits for what takes time (a restart), within its timeout."""
