"""What faults happen on, and what each of them sees of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from random import Random
from typing import Any

from harness.clock import Clock
from harness.engine.plan import RecordedFaults
from harness.engine.wiring import Wiring
from harness.plugin.contract.chain import Artifact, Chain, Network
from harness.plugin.contract.fault import FaultContext, Reach, Throughput
from harness.plugin.contract.node import Node
from harness.spec.links import Flow, LinkShape
from harness.spec.topology import Link


@dataclass(frozen=True, slots=True)
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

    def mechanisms(self, shapes: Iterable[LinkShape]) -> frozenset[str]:
        return self._wiring.mechanisms(shapes)

    async def reach(self, links: Iterable[Link], patience: float) -> Mapping[Link, Reach]:
        return await self._wiring.reach(links, patience)

    async def throughput(self, links: Iterable[Link], size: int, patience: float) -> Mapping[Link, Throughput]:
        return await self._wiring.throughput(links, size, patience)

    async def provide(self, node: Node, artifact: Artifact) -> PurePosixPath:
        return await self._wiring.provide(node, artifact)
