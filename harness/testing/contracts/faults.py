"""Faults on a bench's nodes without a run around them; and a controller to be killed while it has injected some.

    command("harness.testing.contracts.faults", FILE)

FILE holds what `controller.describe` gives, with `faults`: plugins described, one for each node. It says "injected"
when all are proven, and then waits for ever."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from random import Random
from typing import Any, cast

import anyio

from harness.clock import SystemClock
from harness.plugin.contract.chain import Artifact, Chain, Network
from harness.plugin.contract.fault import Fault, FaultContext, Reach
from harness.plugin.contract.node import Node
from harness.spec.links import Flow, LinkShape
from harness.spec.topology import Link
from harness.testing.contracts.bench import Net
from harness.testing.contracts.controller import take_over, tell
from harness.testing.contracts.elsewhere import remade


class BenchContext(FaultContext):
    """All nodes are targets unless said; there is no traffic to disturb, and nobody who is yet to come."""

    absent: Sequence[str] = ()

    def __init__(self, net: Net, targets: Sequence[str] | None = None) -> None:
        self.targets: Sequence[Node] = tuple(net.nodes[name] for name in (net.nodes if targets is None else targets))
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


def main(file: str) -> None:
    anyio.run(_control, json.loads(Path(file).read_text()))


async def _control(what: Mapping[str, Any]) -> None:
    bench, run = take_over(what)
    async with bench.up(len(what["faults"]), run=run) as net:
        for name, described in zip(net.nodes, what["faults"], strict=True):
            fault: Fault[Any] = remade(described)
            ctx = BenchContext(net, [name])
            await fault.inject(ctx)
            proof = await fault.prove(ctx)
            assert proof.holds is True, (fault.name, proof.seen)
        tell("injected")
        await anyio.sleep_forever()
