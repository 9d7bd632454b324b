"""Runs on machines of their own, that reach each other: locks of several, links between nodes, links that are cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from harness.api import (
    Access,
    DeployError,
    Deployment,
    DeployRequest,
    HostSpec,
    Link,
    NodeSpec,
    PlannedNode,
    Secret,
    ServiceSpec,
)
from harness.testing.fakes import FakeChain, FakeChainConfig
from harness.testing.waiting import eventually
from harness_ssh.deployer import SshConfig, SshDeployer

pytestmark = [pytest.mark.anyio, pytest.mark.real]

WITHIN = 60.0
SERVER = """
import socket, sys
server = socket.create_server(("0.0.0.0", int(sys.argv[1])))
print("up", flush=True)
while True:
    server.accept()[0].sendall(b"hello")
"""
CALLER = "import socket, sys; print(socket.create_connection((sys.argv[1], int(sys.argv[2])), 10).recv(5).decode())"


@pytest.fixture(scope="module")
def hosts(ssh_hosts_plain: Any) -> Iterator[Sequence[Any]]:
    with ssh_hosts_plain.lease(2) as hosts:
        yield hosts


def spec(host: Any, **variables: Any) -> HostSpec:
    return HostSpec(host.name, {**host.variables(), **variables})


def deploy(
    run_dir: Path, hosts: Sequence[HostSpec], access: Access | None = None, links: Sequence[Link] = (), **options: Any
) -> AbstractAsyncContextManager[Deployment]:
    """A node for each of the hosts, called after it."""
    run_dir.mkdir(exist_ok=True)
    nodes = tuple(
        PlannedNode(NodeSpec(f"node-{host.name}", "v", number, number), host, ("p2p", "api"), "p2p")
        for number, host in enumerate(hosts)
    )
    request = DeployRequest(
        run_dir.name, run_dir, nodes, tuple(links), FakeChain(FakeChainConfig()), access or Access()
    )
    return SshDeployer(SshConfig.model_validate(options)).deploy(request)


def left(host: Any) -> str:
    """What the harness has on a host, looked at past ssh."""
    listed: bytes = host.exec("sh", "-c", "ls -d /var/tmp/harness-* 2>/dev/null; true").stdout
    return listed.decode().strip()


async def test_all_machines_or_none(hosts: Sequence[Any], tmp_path: Path) -> None:
    first, second = map(spec, hosts)
    async with deploy(tmp_path / "holder", [second]):
        with pytest.raises(DeployError, match=f"host {second.name}: .*run holder"):
            async with deploy(tmp_path / "refused", [first, second]):
                pytest.fail("it was let in")
        async with deploy(tmp_path / "other", [first]):  # which was given back
            pass
    assert left(hosts[0]) == left(hosts[1]) == ""


async def test_nodes_reach_each_other_at_their_links(hosts: Sequence[Any], tmp_path: Path) -> None:
    link = Link(*(f"node-{host.name}" for host in hosts))
    async with deploy(tmp_path / "run", [*map(spec, hosts)], links=[link]) as deployment:
        caller, called = deployment.placements[link.src], deployment.placements[link.dst]
        log = tmp_path / "log"
        argv = (called.machine.python, "-c", SERVER, str(called.ports["p2p"]))
        await called.machine.spawn(ServiceSpec(called.node.name, argv, called.directory, log))
        await eventually(lambda: log.exists() and "up" in log.read_text())
        address = deployment.link_address(link)
        assert address.host == hosts[1].address
        done = await caller.machine.run([caller.machine.python, "-c", CALLER, address.host, str(address.port)])
        assert done.stdout == b"hello\n"
    assert left(hosts[0]) == left(hosts[1]) == ""


async def test_a_link_that_is_dropped_on_the_way_is_found_again(hosts: Sequence[Any], tmp_path: Path) -> None:
    host = hosts[0]
    warnings: list[str] = []
    access = Access(warn=lambda machine, text: warnings.append(f"{machine}: {text}"))
    async with deploy(tmp_path / "run", [spec(host)], access, lease="60s", keepalive="1s") as deployment:
        (place,) = deployment.placements.values()
        log = tmp_path / "log"
        argv = (place.machine.python, "-u", "-c", "import time\nwhile True: print('x'); time.sleep(0.1)")
        service = await place.machine.spawn(ServiceSpec(place.node.name, argv, place.directory, log))
        rules = "table inet cut { chain in { type filter hook input priority 0; tcp dport 22 drop; }; }"
        host.exec("nft", rules)
        try:
            await eventually(lambda: any("cannot be reached" in one or "lost" in one for one in warnings))
        finally:
            host.exec("nft", "delete table inet cut")
        await eventually(lambda: "connected again" in warnings[-1])
        assert await service.state() == "running"
        seen = log.stat().st_size
        await eventually(lambda: log.stat().st_size > seen)
    assert left(host) == ""


async def test_a_password_is_nowhere_afterwards(hosts: Sequence[Any], tmp_path: Path) -> None:
    host = hosts[0].as_user("ops")
    password = Secret.of(host.ops_password, "inventory")
    async with deploy(tmp_path / "run", [spec(host, ansible_become_password=password)]) as deployment:
        (place,) = deployment.placements.values()
        assert (await place.machine.run(["id", "-u"], become=True)).stdout == b"0\n"
        places = "/proc/[0-9]*/cmdline /proc/[0-9]*/environ /var/tmp /tmp /var/log /run"
        search = ("sh", "-c", f"grep -rlaF -f - {places} 2>/dev/null; true")

        async def found() -> bytes:
            line = host.ops_password.encode() + b"\n"
            return (await place.machine.run(search, input=line, become=True)).stdout

        assert await found() == b""
        await place.machine.put(host.ops_password.encode(), place.directory / "planted")
        assert await found() == f"{place.directory}/planted\n".encode()
        await place.machine.remove(place.directory / "planted")
        here = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert here and not any(host.ops_password.encode() in path.read_bytes() for path in here)
    assert left(host) == ""
