"""Faults: undoable disturbances, each proven to have taken effect and proven to be gone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from random import Random
from typing import Any

from harness.clock import Clock
from harness.plugin.contract.base import Config, ConfigT, MachineCapability, Plugin
from harness.plugin.contract.chain import Artifact, Chain, Network
from harness.plugin.contract.node import Node
from harness.plugin.contract.workload import PlanView
from harness.spec.links import Flow, LinkShape
from harness.spec.topology import Link


@dataclass(frozen=True, slots=True)
class Proof:
    """What was looked at to see whether a fault is there, or gone. `seen` is JSON-able evidence.

    `holds` is None when it could not be told: the run goes on, and its verdict is `unknown` at best."""

    holds: bool | None
    seen: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FaultRecord:
    """One injected fault, as far as it has come. Times are monotonic seconds; None: not (yet). `downs`: the nodes that
    do not take part in consensus while it holds. `proven` and `healing_proven` as `Proof.holds`."""

    id: str
    fault: str
    targets: tuple[str, ...]
    by: str
    injected_at: float | None = None
    healed_at: float | None = None
    proven: bool | None = None
    healing_proven: bool | None = None
    downs: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Reach:
    """How a node's peer port was reached from another node's machine. `connected`: a connection came to be; None when
    that machine could not be asked. `round_trip` in seconds: from the end that we gave it to the end that the other
    side gave it in answer, None where that did not come. `error` is why not: untrusted text."""

    connected: bool | None
    round_trip: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Throughput:
    """How fast bytes passed a link, in bytes a second: `there` from its source to its destination, and `back`. None
    where that could not be measured, for which `error` is the reason: untrusted text."""

    there: float | None = None
    back: float | None = None
    error: str = ""


class FaultContext(ABC):
    """One injection's view of the run. All its targets, and all nodes."""

    targets: Sequence[Node]
    nodes: Mapping[str, Node]
    links: Sequence[Link]
    """Who dials whom."""
    chain: Chain[Any]
    network: Network
    clock: Clock
    rng: Random
    """Of this injection alone, fixed by the run's seed."""

    @property
    @abstractmethod
    def absent(self) -> Sequence[str]:
        """Nodes that are not in the network, and that no other fault is to bring back: late ones that were not started
        yet, then those that have left it, longest first."""

    @abstractmethod
    async def shape(self, shapes: Mapping[Flow, LinkShape]) -> None:
        """Do this, and no longer what this fault did before, to traffic between nodes, on top of what other faults do
        to it. Empty: nothing any more. Raises FaultError."""

    def shaped_by_others(self) -> Mapping[Flow, LinkShape]:
        """What all other faults together do to traffic at this moment: what is seen of links may be their doing."""
        return {}

    def mechanisms(self, shapes: Iterable[LinkShape]) -> frozenset[str]:
        """What does these to traffic here: "relay", "nft", "tc". Empty where that is not known."""
        return frozenset()

    @abstractmethod
    async def reach(self, links: Iterable[Link], patience: float) -> Mapping[Link, Reach]:
        """Dial each link's peer port at the address that its node dials, from that node's machine: all at once, none
        longer than `patience` seconds."""

    async def throughput(self, links: Iterable[Link], size: int, patience: float) -> Mapping[Link, Throughput]:
        """Send `size` bytes over each link, and as many back, all links at once, none longer than `patience` seconds:
        between programs of ours on the nodes' machines, by the way that the links' traffic takes. Nobody else looks at
        links of these nodes meanwhile."""
        return {link: Throughput(error="it cannot be measured here") for link in links}

    @abstractmethod
    async def provide(self, node: Node, artifact: Artifact) -> PurePosixPath:
        """Have an artifact on this node's machine, sent at most once; its path there. Raises InfrastructureError."""


class Fault(Plugin[ConfigT], ABC):
    """A disturbance of some nodes. One instance is one injection: it may keep what it must remember to heal."""

    def requires_machine(self) -> frozenset[MachineCapability]:
        """What it needs of the machines of all nodes, configured as it is. Looked at in plan."""
        return frozenset()

    def requires_libraries(self) -> frozenset[str]:
        """Shared libraries that it has its targets' processes load: their paths on the machines, or in the image of the
        nodes. Looked at in plan, as far as deployers can."""
        return frozenset()

    def check(self, ctx: PlanView) -> Sequence[str]:
        """What of its options cannot be met by this plan."""
        return ()

    def choose(self, free: Sequence[str], rng: Random) -> Sequence[str]:
        """Which of these nodes a nemesis is to disturb with it now, in an order that may count (who is on which side of
        a partition): one, drawn, unless it says otherwise; none where they are too few. Pure but for `rng`."""
        return (rng.choice(free),) if free else ()

    def downs(self, targets: Sequence[str], powers: Mapping[str, int]) -> frozenset[str]:
        """Which nodes take no part in consensus while it holds, and count against the fault budget: the targets,
        unless it says otherwise. `powers` are all nodes' weights in consensus. Pure."""
        return frozenset(targets)

    def cuts(self, targets: Sequence[str], powers: Mapping[str, int]) -> Collection[Flow]:
        """What traffic between nodes vanishes while it holds: none, unless it says otherwise. Whom that keeps out of
        consensus follows from the network's links, and counts as well. Pure. Raises FaultError, UsageError for targets
        with which it cannot be."""
        return ()

    def hidden(
        self,
        targets: Sequence[str],
        powers: Mapping[str, int],
        links: Sequence[Link],
        held: Iterable[tuple[Fault[Any], Sequence[str]]],
    ) -> str:
        """Why it could not be told from those that hold already, each with its targets, "" where it could. Pure."""
        return ""

    def pointless(self, targets: Sequence[str], powers: Mapping[str, int], links: Sequence[Link]) -> str:
        """Why it would change nothing in a network of these links, "" where it would change something: it is refused
        then, in plan and later. Unless it says otherwise that is where it cuts no link that there is. Pure. Raises as
        `cuts`."""
        cut = self.cuts(targets, powers)
        flows = set(cut)
        if not cut or any({Flow(link.src, link.dst), Flow(link.dst, link.src)} & flows for link in links):
            return ""
        return no_link(f"{flow.src} to {flow.dst}" for flow in sorted(flows))

    def gone(self, targets: Sequence[str]) -> frozenset[str]:
        """Which of its targets have left the network when it is over, until somebody starts them again: none, unless it
        says otherwise."""
        return frozenset()

    def comes(self, targets: Sequence[str], absent: Sequence[str]) -> Sequence[str]:
        """Which of the absent nodes it brings into the network: none, unless it says otherwise. Until it is proven to
        be there, no other fault takes these out or brings them. Pure. Raises FaultError where they are too few for it,
        or others than are wanted."""
        return ()

    @abstractmethod
    async def inject(self, ctx: FaultContext) -> None: ...

    @abstractmethod
    async def prove(self, ctx: FaultContext) -> Proof:
        """Look, from outside, whether it holds now. Asked after injecting, and again before healing."""

    @abstractmethod
    async def heal(self, ctx: FaultContext) -> None:
        """Undo it. May be called twice, and when the targets have died in the meantime."""

    @abstractmethod
    async def prove_healed(self, ctx: FaultContext) -> Proof:
        """Look, from outside, whether it is gone. Waits for what takes time (a restart), within its timeout."""


@dataclass(frozen=True, slots=True)
class FaultTurn:
    """One turn of a nemesis: a fault on some nodes, `at` seconds after the drive began, for `duration` seconds. No
    targets: nobody was free then. `taken`: whether it was, in an earlier run that is played again; None where that is
    to be seen when its time comes."""

    at: float
    fault: type[Fault[Any]]
    config: Config
    targets: tuple[str, ...]
    duration: float
    taken: bool | None = None

    def make(self) -> Fault[Any]:
        """A new injection."""
        return self.fault(self.config)


def no_link(whats: Iterable[str], most: int = 5) -> str:
    """That a fault on links would change nothing, as there is no link for what it is to disturb, of which so much at
    most is told."""
    told = list(whats)
    which = ", ".join([*told[:most], "…"] if len(told) > most else told)
    return f"it would change nothing: no link of this network carries what it is to disturb ({which})"
