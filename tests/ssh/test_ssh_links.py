"""Links on machines over SSH: relays are held there as nodes are, through lost connections and to the end of leases."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from harness.api import CUT, Deployment, FaultError, Flow, Link, LinkShape, MachineCapability, TeardownError
from harness_agent.relay import SOURCE

pytestmark = [pytest.mark.anyio, pytest.mark.real]

AB, CB = Link("a", "b"), Link("c", "b")
LINKS = frozenset({MachineCapability.LINK_CONTROL})
BOTH = {Flow("a", "b"): CUT, Flow("b", "a"): CUT}
NEVER = 0.5


@asynccontextmanager
async def network(kit: Any, **options: Any) -> AsyncIterator[Deployment]:
    """a and c dial b, which tells whoever connects that it is b."""
    async with kit.deploy("a", "b", "c", links=[AB, CB], needs=LINKS, by="relay", **options) as deployment:
        place = deployment.placements["b"]
        listener = await anyio.create_tcp_listener(local_host="0.0.0.0", local_port=place.ports["p2p"])

        async def greet(stream: Any) -> None:
            async with stream:
                await stream.send(b"b")

        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, greet)
            yield deployment
            tasks.cancel_scope.cancel()


async def reached(deployment: Deployment, link: Link, within: float = NEVER) -> bool:
    address = deployment.link_address(link)
    with anyio.move_on_after(within):
        async with await anyio.connect_tcp(address.host, address.port) as stream:
            return await stream.receive() == b"b"
    return False


def relays(kit: Any) -> list[int]:
    """The pids of relays in folders of this test's runs."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line, folder = (process / "cmdline").read_bytes(), (process / "cwd").readlink()
        except OSError:  # gone meanwhile
            continue
        if SOURCE.read_bytes()[:50] in line and folder.is_relative_to(kit.state):
            found.append(int(process.name))
    return found


async def test_a_machine_has_one_relay_for_all_its_links_where_it_is_needed(kit: Any) -> None:
    async with network(kit) as deployment:
        ab, cb = deployment.link_address(AB), deployment.link_address(CB)
        place = deployment.placements["b"]
        assert len({ab.port, cb.port, place.ports["p2p"]}) == 3
        assert ab.host == cb.host == place.advertise
        assert len(relays(kit)) == 1
    assert relays(kit) == [] == kit.warnings
    async with kit.deploy("a", "b", links=[AB]) as deployment:
        assert deployment.link_address(AB).port == deployment.placements["b"].ports["p2p"]
        assert relays(kit) == []


async def test_shapes_last_over_a_lost_connection_and_can_be_taken_back_after_it(kit: Any) -> None:
    async with network(kit, lease=30.0) as deployment:
        assert await reached(deployment, AB, 10.0)
        await deployment.shape_links(BOTH)
        kit.sshd.cut()
        await kit.until(lambda: len(kit.warnings) == 2)
        assert not await reached(deployment, AB)
        assert await reached(deployment, CB, 10.0)
        await deployment.shape_links({})
        assert await reached(deployment, AB, 10.0)
        kit.sshd.cut()
        await deployment.shape_links(BOTH)  # it waits for the connection
        assert not await reached(deployment, AB)


async def test_a_dead_relay_is_said(kit: Any) -> None:
    async with network(kit) as deployment:
        (relay,) = relays(kit)
        os.kill(relay, signal.SIGKILL)
        await kit.until(lambda: kit.warnings)
        assert "the link relay of node01 has ended" in kit.warnings[0]
        with pytest.raises(FaultError, match="the link relay is not there"):
            await deployment.shape_links(BOTH)


async def test_packets_are_not_lost_by_relays(kit: Any) -> None:
    async with network(kit) as deployment:
        with pytest.raises(FaultError, match="from a to b cannot be lost"):
            await deployment.shape_links({Flow("a", "b"): LinkShape(loss=0.5)})


async def test_a_relay_ends_with_the_lease(kit: Any) -> None:
    with pytest.raises(TeardownError):
        async with network(kit) as deployment:
            await deployment.shape_links(BOTH)
            kit.sshd.stop()
            await kit.until(lambda: not relays(kit), patience=30.0)
    await kit.until(lambda: not kit.left(), patience=30.0)  # what the relay kept goes after it


async def test_ports_of_links_are_among_those_to_be_used(kit: Any) -> None:
    low = 20_000
    async with kit.deploy("a", "b", links=[AB], needs=LINKS, ports=(low, low + 2_000)) as deployment:
        assert low <= deployment.link_address(AB).port <= low + 2_000
