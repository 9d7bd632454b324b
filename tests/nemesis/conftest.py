"""Faults on a bench's nodes, without a run around them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from random import Random
from typing import Any, cast

import pytest

from harness.api import (
    Artifact,
    Chain,
    FaultContext,
    Flow,
    Link,
    LinkShape,
    Network,
    Node,
    Reach,
    SystemClock,
)
from harness.testing.contracts.bench import Net


class BenchContext(FaultContext):
    """All nodes are targets; there is no traffic to disturb, and nobody who is yet to come."""

    absent: Sequence[str] = ()

    def __init__(self, net: Net) -> None:
        self.targets: Sequence[Node] = tuple(net.nodes.values())
        self.nodes = net.nodes
        self.links = ()
        self.chain = cast(Chain[Any], None)
        self.network = cast(Network, None)
        self.clock = SystemClock()
        self.rng = Random(7)
        self._net = net

    async def shape(self, shapes: Mapping[Flow, LinkShape]) -> None:
        raise NotImplementedError

    async def reach(self, links: Iterable[Link], patience: float) -> Mapping[Link, Reach]:
        raise NotImplementedError

    async def provide(self, node: Node, artifact: Artifact) -> PurePosixPath:
        return await self._net.deployment.provide(node.machine, artifact)


@pytest.fixture
def fault_context() -> Callable[[Net], FaultContext]:
    return BenchContext
