"""What the engine hands to workloads and expectations."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from harness.clock import Clock
from harness.load.job import Job
from harness.load.senders import Senders
from harness.observe.feed import BlockFeed
from harness.observe.tracker import Tracker
from harness.plugin.contract.chain import Chain, Network
from harness.plugin.contract.machine import Address
from harness.plugin.contract.node import Node

if TYPE_CHECKING:  # the fault contract itself needs Node only, but its records are named here
    from harness.plugin.contract.fault import Fault, FaultRecord, FaultTurn


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Window:
    """The time in which workloads ran: monotonic and Unix seconds. The ends are None until they are there."""

    start: float
    start_wall: float
    end: float | None = None
    end_wall: float | None = None


class FaultControl(ABC):
    """The only way to disturb nodes: ledger first, proof, healing, journal, budget."""

    @abstractmethod
    def apply(
        self, fault: Fault[Any], targets: Sequence[Node], *, by: str, turn: int | None = None
    ) -> AbstractAsyncContextManager[FaultRecord]:
        """Inject on entering (ledger, inject, prove), heal on leaving (prove again, heal, prove healed), also when
        cancelled. `turn` is the index of this turn in the schedule of `by`, where it has one.

        Raises FaultError when it was not applied, did not hold or was not healed, and when `allows` is False."""

    def allows(self, fault: Fault[Any], targets: Sequence[Node]) -> bool:
        """Whether this may be done to these nodes now."""
        return not self.refuses(fault, targets)

    @abstractmethod
    def refuses(self, fault: Fault[Any], targets: Sequence[Node]) -> str:
        """Why this may not be done to these nodes now: one that it takes out of consensus is out already, or the fault
        budget does not permit it beside those that are. "" where it may."""

    @abstractmethod
    async def one_over(self) -> bool:
        """Wait until any of the faults that hold now holds no more: others may be allowed then. False, at once, where
        none holds."""

    @abstractmethod
    def schedule(self, turns: Sequence[FaultTurn], *, by: str) -> Sequence[FaultTurn]:
        """Journal what a nemesis is going to do. Returns what it is to do: these turns, or those of an earlier run
        that this one is to play again, which say whether they are to be taken.

        Raises FaultError where the fault budget would allow none of them, were it the only fault."""

    @abstractmethod
    def skip(self, turn: int, why: str, *, by: str) -> None:
        """Journal that this turn of the schedule is not taken. If it was in the run that is played again, the verdict
        is `unknown` at best."""

    @property
    @abstractmethod
    def history(self) -> Sequence[FaultRecord]:
        """Every fault of this run so far, in order of injection."""

    @property
    @abstractmethod
    def absent(self) -> Sequence[str]:
        """Nodes that are not in the network and that no fault will bring back: late ones that were not started yet, and
        those that have left it."""

    @property
    @abstractmethod
    def doubts(self) -> Sequence[str]:
        """Of which faults it could not be told whether they were there, or gone: a sentence each."""

    @abstractmethod
    def disturbed(self, node: str) -> Sequence[tuple[float, float | None]]:
        """When this node was under a fault: (injected, healed) in monotonic seconds, None while it still is."""


class Context(ABC):
    """One component's view of the run."""

    run_id: str
    seed: int
    component: str
    """The id of this workload or expectation within the playbook ("transactions", "chaos.restart#2")."""
    run_dir: Path
    chain: Chain[Any]
    network: Network
    nodes: Mapping[str, Node]
    clock: Clock
    feed: BlockFeed
    faults: FaultControl
    block_interval: float
    """The chain's mean seconds from block to block."""
    finality_depth: int
    quiet: bool
    """True once the run has ended its drive: no new load."""

    @property
    @abstractmethod
    def window(self) -> Window:
        """The drive's time. Before drive has begun: raises RuntimeError."""

    @property
    @abstractmethod
    def deadline(self) -> float:
        """The moment (monotonic seconds) after which a workload begins nothing new."""

    @abstractmethod
    def rng(self, name: str = "") -> random.Random:
        """A generator of its own for this component and name, derived from the run's seed: the same for the
        same seed, whatever else runs."""

    @abstractmethod
    def tracker(self, name: str) -> Tracker:
        """The named record of submissions, made at first use, shared by all components that ask for it."""

    @abstractmethod
    def trackers(self) -> Mapping[str, Tracker]: ...

    @abstractmethod
    async def unpaused(self) -> float:
        """To be awaited by workloads before they begin anything: while somebody has paused the run, it waits. Returns
        for how many seconds; at the end of the drive it waits no longer."""

    @abstractmethod
    async def until_paused(self) -> None:
        """Wait until somebody pauses the run; at once where it is paused."""

    @abstractmethod
    async def keep(self, resource: AbstractAsyncContextManager[T]) -> T:
        """Enter something that is to be left when all expectations have been asked, or when the run breaks off: what
        `prepare` makes ready for `run`."""

    @abstractmethod
    def senders(
        self, job: Job, peak: float, processes: int | None = None, most: int | None = None
    ) -> AbstractAsyncContextManager[Senders]:
        """Processes that send this job, to be `keep`t: on the machines of the inventory's group `load`, where there are
        some and the workload `sends`, else on this one. On each `processes` of them, else as many as `peak` requests a
        second take; no more than `most` in all. Entering it raises InfrastructureError."""

    @abstractmethod
    def sent_to(self, node: Node, port: str = "") -> Address:
        """Where these reach a node's port, by default that of its API: the address for a job's targets and redirects.
        Raises HarnessError while nobody knows."""

    @abstractmethod
    def note(self, message: str, **data: Any) -> None:
        """Put a line in the journal, attributed to this component."""

    @abstractmethod
    def warn(self, message: str, **data: Any) -> None:
        """The same, as a warning: also shown in the summary."""

    @abstractmethod
    def progress(self, **figures: float | int | str) -> None:
        """Current figures of this component (offered, accepted …), shown live; the last ones are kept."""

    @abstractmethod
    def select(self, pattern: str) -> Sequence[Node]:
        """Nodes by pattern: a name, a role, a glob, `:`-joined unions, `&` and `!` as in inventories. Late ones that
        have not been started yet are left out: `nodes` has them."""
