"""Workloads: traffic or disturbance during the run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar

from harness.errors import UsageError
from harness.plugin.contract.base import Capability, ConfigT, MachineCapability, Plugin
from harness.plugin.contract.chain import Network
from harness.plugin.contract.context import Context
from harness.spec.node_patterns import select_nodes
from harness.spec.topology import NodeSpec

if TYPE_CHECKING:  # whose contract needs PlanView
    from harness.plugin.contract.fault import FaultTurn


@dataclass(frozen=True, slots=True)
class DefaultExpectation:
    """An expectation that a workload brings along. The playbook's own use of the same name replaces it."""

    use: str
    options: Mapping[str, Any] = field(default_factory=dict)


class Workload(Plugin[ConfigT], ABC):
    """Something that acts on the network while the run is driven.

    `run` ends by itself once `ctx.deadline` has passed (nothing new is begun after it); it is cancelled,
    and the run marked, if it does not within a grace time.

    `has_schedule`: it is a nemesis that acts by a schedule (`FaultControl.schedule`), which can be played again.
    `sends`: it has load sent by `Context.senders`, for which machines are made ready where the inventory has some."""

    has_schedule: ClassVar[bool] = False
    sends: ClassVar[bool] = False

    def requires(self) -> frozenset[Capability]:
        """What it needs of the chain, configured as it is. Looked at in plan."""
        return frozenset()

    def by_clients(self, network: Network) -> bool:
        """Whether this network leaves it to clients, which are the controller's, to send some of it, although it
        `sends`. Shown in plan."""
        return False

    def requires_machine(self) -> frozenset[MachineCapability]:
        """What it needs of the machines. Looked at in plan."""
        return frozenset()

    def requires_libraries(self) -> frozenset[str]:
        """Shared libraries that it has nodes' processes load: their paths where these run. Looked at in plan."""
        return frozenset()

    def acts_on(self) -> str:
        """The pattern of the nodes on whose machines it needs all that."""
        return "all"

    def expectations(self) -> Sequence[DefaultExpectation]:
        return ()

    def check(self, ctx: PlanView) -> Sequence[str]:
        """What of its options cannot be met by this plan ("users = 20, but there are 10 wallets")."""
        return ()

    def wallets(self, ctx: PlanView) -> Collection[int]:
        """Of the network's wallets those, by their numbers, from which nobody else may send. Looked at in plan."""
        return ()

    async def prepare(self, ctx: Context) -> None:
        """Whatever is to be ready before the clock starts."""

    def turns(self, ctx: PlanView, rng: Random) -> Sequence[FaultTurn]:
        """The schedule of a nemesis, as far as it follows from the plan, drawn from what `Context.rng()` gives in the
        run: looked at in plan, too."""
        return ()

    @abstractmethod
    async def run(self, ctx: Context) -> None: ...

    def describe(self, ctx: PlanView) -> str:
        """One line for the plan: what it is going to do, with numbers."""
        return ""


@dataclass(frozen=True, slots=True)
class PlanView:
    """What is known in plan, before there are machines. `duration` and `block_interval` in seconds."""

    roles: Mapping[str, int]
    nodes: tuple[NodeSpec, ...]
    wallets: int
    duration: float
    block_interval: float
    invalid_kinds: frozenset[str] = frozenset()
    """What the chain's factories can make of what nodes must refuse."""

    @property
    def node_names(self) -> tuple[str, ...]:
        return tuple(node.name for node in self.nodes)

    def unmatched(self, option: str, pattern: str) -> Sequence[str]:
        """What is wrong with a node pattern given for `option`: nothing, or one sentence. For `check`."""
        try:
            select_nodes(pattern, self.nodes)
        except UsageError as error:
            return (f"{option}: {error}",)
        return ()
