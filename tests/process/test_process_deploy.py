"""Placing nodes: hosts, folders, ports, artifacts; several deployments at once; cancellation anywhere."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from harness.api import (
    CUT,
    Access,
    Address,
    Artifact,
    DeployError,
    DeployRequest,
    Flow,
    HostSpec,
    Link,
    MachineCapability,
    Unsupported,
)
from harness.plugin.discovery import Kind
from harness.plugin.registry import Registry
from harness.testing.fakes import FakeChain, FakeChainConfig
from harness_agent import ports as local_ports
from harness_agent.relay import SHAPES
from harness_agent.remote import ports, processes
from harness_process.deployer import ProcessConfig, ProcessDeployer, is_local

pytestmark = pytest.mark.anyio

real = pytest.mark.real


def test_it_is_registered() -> None:
    assert Registry().get(Kind.DEPLOYER, "process") is ProcessDeployer


async def test_link_control_needs_the_relay(kit: Any) -> None:
    basic = {MachineCapability.NODE_CONTROL, MachineCapability.PAUSE, MachineCapability.COMMANDS}
    links = {MachineCapability.LINK_CONTROL, MachineCapability.LINK_DELAY, MachineCapability.LINK_RATE}
    nodes, chain = kit.planned("a", "b"), FakeChain(FakeChainConfig())
    (without,) = await ProcessDeployer(ProcessConfig(relay="off")).inspect(nodes, chain, Access())
    own = {MachineCapability.CLOCK, MachineCapability.OWN_DISK}  # by what is installed here, and who runs this
    assert without.capabilities - own == basic
    assert without.lacks.keys() - own == links
    assert all('relay = "off"' in without.lacks[link] for link in links)
    (with_relay,) = await ProcessDeployer(ProcessConfig()).inspect(nodes, chain, Access())
    assert with_relay.capabilities - own == basic | links
    assert not with_relay.lacks.keys() - own


@real
@pytest.mark.parametrize("needs", [MachineCapability.PAUSE, *sorted(SHAPES)])
async def test_a_relay_is_there_where_it_is_needed(kit: Any, needs: MachineCapability) -> None:
    link = Link("b", "a")
    request = DeployRequest("run", kit.folder, kit.planned("a", "b"), (link,), FakeChain(FakeChainConfig()))
    async with ProcessDeployer(ProcessConfig()).deploy(replace(request, needs=frozenset({needs}))) as deployment:
        relayed = deployment.link_address(link).port != deployment.placements["a"].ports["p2p"]
        assert relayed == (needs in SHAPES)


@pytest.mark.parametrize(
    "name, variables, local",
    [
        ("localhost", {}, True),
        ("127.0.0.1", {}, True),
        ("here", {"ansible_connection": "local"}, True),
        ("here", {"ansible_host": "127.0.0.1"}, True),
        ("node01", {}, False),
        ("localhost", {"ansible_host": "10.0.0.3"}, False),
        ("localhost", {"ansible_connection": "ssh"}, False),
    ],
)
def test_which_hosts_are_this_machine(name: str, variables: dict[str, str], local: bool) -> None:
    assert is_local(HostSpec(name, variables)) is local


async def test_other_hosts_are_refused(kit: Any) -> None:
    nodes = kit.planned("a", "b", ansible_host="10.0.0.3")
    (report,) = await ProcessDeployer(ProcessConfig()).inspect(nodes, FakeChain(FakeChainConfig()), Access())
    assert len(report.problems) == 1 and "it is not this machine" in report.problems[0]
    kit.planned = lambda *names: nodes
    with pytest.raises(DeployError, match="host here: it is not this machine"):
        async with kit.deploy("a", "b"):
            pass
    assert [*kit.folder.iterdir()] == []


@real
async def test_placements(kit: Any) -> None:
    link = Link("b", "a")
    async with kit.deploy("a", "b", links=[link]) as deployment:
        a, b = deployment.placements.values()
        assert (a.bind, a.advertise, a.node.name, b.node.name) == ("127.0.0.1", "127.0.0.1", "a", "b")
        assert len({*a.ports.values(), *b.ports.values()}) == 4
        assert Path(a.directory).is_dir() and Path(a.directory).is_absolute()
        assert deployment.endpoint("a", "api") == Address("127.0.0.1", a.ports["api"])
        assert deployment.link_address(link) == Address("127.0.0.1", a.ports["p2p"])
        with pytest.raises(Unsupported, match="none was needed"):
            await deployment.shape_links({Flow("b", "a"): CUT, Flow("a", "b"): CUT})
    assert Path(a.directory).is_dir(), "kept to be looked at"


@real
async def test_artifacts_are_sent_once_and_removed(kit: Any) -> None:
    script = Artifact("bin/node", b"#!/bin/sh\necho it runs\n", executable=True)
    async with kit.deploy("a") as deployment:
        machine = deployment.placements["a"].machine
        path = await deployment.provide(machine, script)
        before = Path(path).stat()
        assert (await machine.run([str(path)])).stdout == b"it runs\n"
        source = kit.folder / "data"
        source.write_bytes(b"x" * 100_000)
        data = await deployment.provide(machine, Artifact("data", source))
        source.write_bytes(b"newer")
        assert await machine.get(data) == b"x" * 100_000
        assert await deployment.provide(machine, script) == path
        assert Path(path).stat().st_ino == before.st_ino
    assert not Path(path).exists() and not Path(data).exists()


@real
async def test_two_deployments_at_once_share_no_port(kit: Any) -> None:
    names = [f"n{number}" for number in range(40)]
    taken: list[int] = []

    async def one(folder: Path) -> None:
        folder.mkdir()
        async with kit.deploy(*names, run_dir=folder) as deployment:
            taken.extend(port for place in deployment.placements.values() for port in place.ports.values())
            arrived.append(folder)
            await kit.eventually(lambda: len(arrived) == 3, "all three are there at once")

    arrived: list[Path] = []
    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(one, kit.folder / str(number))
    assert len(taken) == len(set(taken)) == 3 * 80


def test_a_port_that_is_in_use_or_leased_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four candidates one is listened on, one has a UDP socket, one is leased: the fourth comes out."""
    free = ports.PortLeases(4)
    chosen = free.ports
    free.close()
    monkeypatch.setattr(ports, "candidates", lambda low, high: chosen)
    other = ports._lease(chosen[2])
    assert other is not None
    with (
        other,
        socket.create_server(("127.0.0.1", chosen[0])),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
    ):
        datagrams.bind(("127.0.0.1", chosen[1]))
        leases = local_ports.PortLeases(1)
        assert leases.ports == [chosen[3]]
        with pytest.raises(DeployError, match="1 ports are needed, only 0 are free"):
            local_ports.PortLeases(1)
        leases.close()
    everything = ports.PortLeases(4)
    assert sorted(everything.ports) == sorted(chosen)
    everything.close()


def test_a_port_where_closed_connections_linger_is_taken_when_there_is_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As those of the run before are, where an inventory gives nodes few ports."""
    free = ports.PortLeases(2)
    chosen = free.ports
    free.close()
    monkeypatch.setattr(ports, "candidates", lambda low, high: chosen)
    with socket.create_server(("127.0.0.1", chosen[0])) as server:
        with socket.create_connection(server.getsockname()) as client:
            accepted, _ = server.accept()
            accepted.close()  # who closes first has it linger
            assert client.recv(1) == b""
        with pytest.raises(ports.NoPorts, match="only 1 are free"):
            ports.PortLeases(2)
    assert not ports._is_free(chosen[0])
    other = ports.PortLeases(1)
    assert other.ports == [chosen[1]]
    other.close()
    both = ports.PortLeases(2)
    assert both.ports == [chosen[1], chosen[0]]
    with socket.create_server(("127.0.0.1", chosen[0])):
        pass
    both.close()


def test_a_node_may_use_its_leased_port_for_tcp_and_udp() -> None:
    leases = ports.PortLeases(1)
    (port,) = leases.ports
    with socket.create_server(("127.0.0.1", port)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", port))
    leases.close()


def test_ports_lie_outside_the_ephemeral_range() -> None:
    assert set(ports.candidates(32768, 60999)) == {*range(10_000, 32768), *range(61000, 65536)}
    assert set(ports.candidates(1024, 65535)) == set(range(10_000, 65536)), "there is no outside"
    low, high = ports.ephemeral_range()
    assert 0 < low < high < 65536


@real
@pytest.mark.parametrize("checkpoint", range(12))
@pytest.mark.parametrize("relay", ["off", "on"])
async def test_cancelled_in_the_middle_of_deploying(kit: Any, checkpoint: int, relay: str) -> None:
    """Cancelled after so many turns of the event loop, each further along: nothing is left of it, and no task."""

    async def deploying() -> None:
        async with kit.deploy("a", "b", links=[Link("b", "a")], relay=relay) as deployment:
            place = deployment.placements["a"]
            await place.machine.run(["true"])
            await place.machine.spawn(kit.program(place, "import time; time.sleep(1000)"))
            await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(deploying)
        for _ in range(2**checkpoint):
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    record = kit.folder / "processes.jsonl"
    entries = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    assert not [entry for entry in entries if kit.is_alive(entry.get("pid") or entry["agent"])]


@real
async def test_what_the_body_raises_comes_out_as_it_is(kit: Any) -> None:
    with pytest.raises(DeployError, match="from the body"):
        async with kit.deploy("a") as deployment:
            place = deployment.placements["a"]
            service = await place.machine.spawn(kit.program(place, "import time; time.sleep(1000)"))
            raise DeployError("from the body")
    assert service.exit is not None and not kit.is_alive(service.pid)


async def test_a_supervisor_that_cannot_start(kit: Any) -> None:
    (kit.folder / "processes.jsonl").mkdir()  # its record cannot be written
    with pytest.raises(DeployError, match="no supervisor for this run: .*Is a directory"):
        async with kit.deploy("a"):
            pass


def test_processes_look_the_same_through_proc_and_ps(monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.platform != "linux" or shutil.which("ps") is None:
        pytest.skip("needs both /proc and ps")
    by_proc = processes.look(os.getpid())
    monkeypatch.setattr(processes, "HAS_PROC", False)
    by_ps = processes.look(os.getpid())
    assert by_proc is not None and by_ps is not None
    assert (by_proc.pid, by_proc.parent, by_proc.alive) == (by_ps.pid, by_ps.parent, by_ps.alive)
    assert os.getpid() in [process.pid for process in processes.everyone()]
    assert processes.look(2**22 + 1) is None
