"""The values that a playbook comes down to once it is read, rendered and checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.spec.units import Moment, Span


@dataclass(frozen=True, slots=True)
class SourceRef:
    """A place in a file; lines and columns count from 1. `line` 0: built in code, there is no place."""

    file: str
    line: int = 0
    column: int = 0

    @classmethod
    def of_host(cls, name: str) -> SourceRef:
        """For what is said of a host and has no place in a file. Its name may be anybody's: it stays on one line."""
        return cls(f"host {name if name.isprintable() else json.dumps(name)}")

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class PluginUse:
    """One `use = "NAME"` table of a playbook: which plugin, and the options that stand beside `use`.

    `id` names this use within its playbook: the plugin's name, with `#2`, `#3` … when it is used again. An expectation
    that is `continuous` is also judged while the run goes on; `abort` says that its first violation ends the run."""

    use: str
    id: str
    options: Mapping[str, Any]
    where: SourceRef
    path: tuple[str | int, ...] = ()
    continuous: bool = False
    abort: bool = False


@dataclass(frozen=True, slots=True)
class TaskUse:
    """One `[[prepare]]` table: a task, what it is called (`name`, "" for its id), on which of the run's hosts it is
    done (a host pattern, and where that is written), and whether as root: None as the inventory says of each host."""

    use: PluginUse
    name: str = ""
    hosts: str = "all"
    hosts_at: SourceRef = SourceRef("")
    become: bool | None = None

    @property
    def label(self) -> str:
        return self.name or self.use.id


@dataclass(frozen=True, slots=True)
class StepUse:
    """One `[[steps]]` table. It begins `at` a moment of the drive, or `after` so long since the step before it was done
    (at once, where neither is said). `action` is "fault", "expect", "heal" or "run", `what` the name of the fault or
    expectation, or of the fault to heal; `use` is the plugin of the first two, with its options. A fault holds for
    `hold`, else until it is healed by its `name`, or the drive ends. `targets` are the nodes of a fault or a command
    (a node pattern). `abort`: an expectation that fails then ends the run."""

    label: str
    action: str
    what: str
    where: SourceRef
    path: tuple[str | int, ...] = ()
    use: PluginUse | None = None
    at: Moment | None = None
    after: Span | None = None
    name: str = ""
    targets: str = "all"
    hold: Span | None = None
    argv: tuple[str, ...] = ()
    abort: bool = False


@dataclass(frozen=True, slots=True)
class TopologySpec:
    """How many nodes of each role, and who peers with whom.

    `roles` keeps the order in which they were written. `degree` is for the layout `random` only. `late` is the pattern
    of nodes that are made ready with the others and not started with them, "" for none."""

    layout: str
    roles: Mapping[str, int]
    degree: int | None = None
    late: str = ""


@dataclass(frozen=True, slots=True)
class WalletsSpec:
    """Accounts funded at genesis: how many, and each one's initial balance in the chain's base unit."""

    count: int = 0
    balance: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Playbook:
    """A playbook with its variables filled in: one run, still without machines.

    `duration` is how long workloads run; `ready_timeout` (seconds) bounds start-up and first blocks;
    `settle` None means the chain's own finality depth; `budget` is "chain" (no more faults at once than
    the chain tolerates) or "unlimited"."""

    name: str
    chain: PluginUse
    duration: Span
    topology: TopologySpec
    wallets: WalletsSpec
    workloads: tuple[PluginUse, ...]
    expectations: tuple[PluginUse, ...]
    prepare: tuple[TaskUse, ...] = ()
    steps: tuple[StepUse, ...] = ()
    description: str = ""
    seed: int | None = None
    ready_timeout: float = 60.0
    settle: Span | None = None
    budget: str = "chain"
    variables: Mapping[str, Any] = field(default_factory=dict)
    source: Path | None = None
