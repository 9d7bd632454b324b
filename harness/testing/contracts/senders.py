"""What sends load: brought to a machine like a node, reached by the controller, and reaching the nodes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio

from harness.clock import SystemClock
from harness.engine.load_source import LoadSource
from harness.engine.placement import LOAD, SENDER_PORT
from harness.load.job import Job, Target, head
from harness.load.senders import Senders
from harness.plugin.contract.deployer import PlannedNode
from harness.record.rundir import RunDirectory
from harness.spec.topology import NodeSpec
from harness.testing.contracts.base import DeployerSuite
from harness.testing.contracts.bench import READY_WITHIN, Bench, Net
from harness.testing.contracts.nodes import NAME

UNUSED = 9
"""The port of `discard`, at which nothing listens on machines of tests."""


class SendersSuite(DeployerSuite):
    async def test_load_from_a_machine_reaches_the_nodes(self, bench: Bench) -> None:
        async with self._source(bench) as (net, source):
            place = net.deployment.placements[NAME]
            targets = {name: Target(name, place.advertise, port, head("GET", "/", "n")) for name, port in
                       (("there", place.ports["api"]), ("nowhere", UNUSED))}  # fmt: skip
            assert await self._unreachable(source, targets["there"]) == []
            assert len(await self._unreachable(source, targets["nowhere"])) == 1

    async def test_what_sends_is_for_its_controller_alone(self, bench: Bench) -> None:
        """At the port of its machine nobody gets a sender who does not know the secret; and its clock is asked."""
        async with self._source(bench) as (net, source):
            place = net.deployment.placements[NAME]
            target = Target("there", place.advertise, place.ports["api"], head("GET", "/", "n"))
            async with source.senders(Job((target,), repeat=b""), 1.0, 2, None) as those:
                assert len(those.clocks) == 2
                assert all(0 < bound < 1.0 for _, _, bound in those.clocks)
            at = net.deployment.endpoint(f"{LOAD}-1", SENDER_PORT)
            async with await anyio.connect_tcp(at.host, at.port) as stranger:
                await stranger.send(b"0" * 64 + b"\n")
                with anyio.fail_after(READY_WITHIN):
                    assert await _all_of(stranger) == b""

    async def _unreachable(self, source: LoadSource, target: Target) -> list[str]:
        async with source.senders(Job((target,), repeat=b""), 1.0, 1, None) as those:
            assert _where(those)
            return list(those.unreachable)

    @asynccontextmanager
    async def _source(self, bench: Bench) -> AsyncIterator[tuple[Net, LoadSource]]:
        """A node, and a machine that sends."""
        nodes = bench.request()
        spec = NodeSpec(f"{LOAD}-1", LOAD, 0, 1)
        sender = PlannedNode(spec, bench.hosts[-1], (SENDER_PORT,), SENDER_PORT, sender=True)
        told: list[str] = []
        source = LoadSource(bench.chain, SystemClock(), lambda level, sentence: told.append(sentence))
        request = replace(nodes, nodes=(*nodes.nodes, sender))
        async with bench.deploy(request) as deployment, anyio.create_task_group() as tasks:
            net = await bench.start(nodes, deployment, tasks)
            await net.node.wait_ready(READY_WITHIN)
            await source.begin((sender,), deployment, RunDirectory(nodes.run_dir).log, READY_WITHIN)
            assert told[0].startswith(f"load comes from {bench.hosts[-1].name}: Python 3.")
            yield net, source
            tasks.cancel_scope.cancel()
        assert not await self.leftovers(nodes.run_id, nodes.run_dir)


def _where(those: Senders) -> bool:
    return all(those.machines)


async def _all_of(stream: anyio.abc.SocketStream) -> bytes:
    """What comes until the other side ends it, whichever way."""
    said = b""
    try:
        while True:
            said += await stream.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return said
