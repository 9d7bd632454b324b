"""nft in the nodes' network namespaces on an engine: all families, without it, and when what holds them is gone."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest

from harness.api import (
    CUT,
    Access,
    DeployError,
    Deployment,
    FaultError,
    Flow,
    InfrastructureError,
    LinkShape,
    Machine,
    MachineCapability,
    ServiceSpec,
)
from harness.testing.contracts.chain import ContractChain
from harness_docker import images, pods
from harness_docker.deployer import DockerConfig, DockerDeployer
from harness_docker.engine import Engine

pytestmark = [pytest.mark.anyio, pytest.mark.real]

LOSS = MachineCapability.LINK_LOSS
PORT = 4000
LISTEN = f"""
import socket
listening = socket.create_server(("::", {PORT}), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    listening.accept()[0].close()
"""
DIAL = """
import json, socket, sys
def dial(where):
    with socket.socket(socket.AF_INET6 if ":" in where[0] else socket.AF_INET) as ours:
        ours.settimeout(1.0)
        try:
            ours.connect(tuple(where))
        except OSError as error:
            return str(error)
        return "reached"
print(json.dumps([dial(each) for each in json.load(sys.stdin)]))
"""
BROKEN = "RUN cd /usr/local/bin && ln -s /bin/true python3 && printf '{}' >nft && chmod +x nft".format(
    r"#!/bin/sh\necho no nf_tables >&2\nexit 1\n"
)


@asynccontextmanager
async def two_nodes(kit: Any) -> AsyncIterator[Deployment]:
    """That take connections of both families."""
    chain = ContractChain(ContractChain.Config())
    request = replace(kit.request("a", "b"), needs=frozenset({LOSS}), chain=chain)
    async with DockerDeployer(DockerConfig(ipv6=True)).deploy(request) as deployment:
        for place in deployment.placements.values():
            argv = (place.machine.python, "-c", LISTEN)
            await place.machine.spawn(
                ServiceSpec(place.node.name, argv, place.directory, kit.log_path(place.node.name))
            )
        yield deployment


async def addresses(machine: Machine) -> list[tuple[str, int, int, int]]:
    """Of IPv6, as another node dials them: a global one, and one of the link."""
    told = (await machine.run(("cat", "/proc/net/if_inet6"))).stdout.decode()
    fields = [line.split() for line in told.splitlines() if not line.endswith("lo")]
    return [
        (":".join(each[0][at : at + 4] for at in range(0, 32, 4)), PORT, 0, int(each[1], 16) if each[0] > "fe8" else 0)
        for each in sorted(fields)
    ]


async def test_both_families_are_cut(kit: Any) -> None:
    async with two_nodes(kit) as deployment:
        a, b = deployment.placements["a"].machine, deployment.placements["b"].machine
        at = deployment.placements["b"].advertise
        own = {each[3]: each[3] for each in await addresses(a)}
        assert len(own) == 2, "a global address and one of the link"
        [scope] = [number for number in own if number]
        where = [(at, PORT), *((*each[:3], each[3] and scope) for each in await addresses(b))]

        async def reached() -> list[str]:
            done = await a.run((a.python, "-c", DIAL), input=json.dumps([list(each) for each in where]).encode())
            assert done.returncode == 0, done.stderr
            return list(json.loads(done.stdout))

        with anyio.fail_after(60.0):
            while await reached() != ["reached"] * 3:
                await anyio.sleep(0.05)
        for flow in (Flow("a", "b"), Flow("b", "a")):
            await deployment.shape_links({flow: CUT})
            assert await reached() == ["timed out"] * 3
        await deployment.shape_links({})
        assert await reached() == ["reached"] * 3
    assert kit.left() == []


async def test_a_namespace_that_nobody_holds_any_more_is_said(kit: Any) -> None:
    kit.needs = frozenset({LOSS})
    async with kit.deploy("a", "b") as deployment:
        place = deployment.placements["a"]
        node = await place.machine.spawn(kit.spec(place))
        await deployment.shape_links({Flow("b", "a"): CUT})
        [pod] = kit.docker("ps", "-q", f"--filter=label=harness.run={kit.run_id}", "--filter=name=a.net$").split()
        kit.docker("kill", pod)
        with pytest.raises(FaultError, match=r"a\.net: nft cannot run: its container does not run"):
            await deployment.shape_links({})
        await node.signal(9)
        await node.wait()
        with pytest.raises(InfrastructureError, match="cannot be started: cannot join network of a non running"):
            await place.machine.spawn(kit.spec(place))
    assert kit.left() == []


async def test_packets_of_whom_it_is_nothing_to_are_not_dropped(kit: Any) -> None:
    """The commands that say so are told of, as those on any machine."""
    kit.needs = frozenset({LOSS})
    async with kit.deploy("a", "b", "c") as deployment:
        await deployment.shape_links({Flow("a", "b"): LinkShape(loss=0.25), Flow("c", "b"): LinkShape(delay=0.0)})
        [pod] = kit.docker("ps", "-q", f"--filter=label=harness.run={kit.run_id}", "--filter=name=b.net$").split()
        rules = kit.docker("exec", "--user=0", pod, "nft", "list", "table", "inet", f"harness_{kit.run_id}")
        address = {name: place.advertise for name, place in deployment.placements.items()}
        assert f"ip saddr {address['a']} numgen random mod 1000000 < 250000 drop" in rules
        assert address["c"] not in rules
        with pytest.raises(FaultError, match="cannot be delayed"):
            await deployment.shape_links({Flow("a", "b"): LinkShape(delay=0.1)})
    told = [record for record in kit.audited if record.argv[0] == "nft"]
    assert [(record.machine, record.user, record.returncode) for record in told] == [("b.net", "root", 0)]


@pytest.fixture
def without_nft(built_image: Callable[[str], str], docker_engine: Any) -> Iterator[str]:
    """A base whose nft finds no nf_tables in the kernel."""
    base = built_image(BROKEN)
    yield base

    async def made() -> str:
        engine = await Engine.open(docker_engine.host, 1)
        try:
            image = await images.find(engine, DockerDeployer(DockerConfig(base=base))._pod_source(), pods.NAME)
        finally:
            engine.close()
        return image.id if image is not None else ""

    if image := anyio.run(made):
        docker_engine("rmi", "--force", image)


async def report(kit: Any, **options: Any) -> Any:
    [seen] = await kit.deployer(**options).inspect(kit.planned("a"), kit.chain, Access())
    return seen


async def test_without_nf_tables_relays_do_what_they_can(kit: Any, without_nft: str) -> None:
    kit.needs = frozenset({LOSS, MachineCapability.LINK_CONTROL})
    assert LOSS in (await report(kit, base=without_nft)).capabilities, "it was not tried yet"
    async with kit.deploy("a", base=without_nft) as deployment:
        with pytest.raises(FaultError, match="cannot be lost by a relay"):
            await deployment.shape_links({Flow("a", "b"): LinkShape(loss=0.5)})
    [(_, said)] = kit.warned
    assert said.endswith("relays hold streams instead: this engine does not take our rules: no nf_tables")
    why = "takes nft, and this engine does not take our rules: no nf_tables"
    seen = await report(kit, base=without_nft)
    assert seen.lacks[LOSS] == why and MachineCapability.LINK_CONTROL in seen.capabilities
    seen = await report(kit, base=without_nft, links="nft")
    assert seen.lacks[LOSS] == seen.lacks[MachineCapability.LINK_CONTROL] == why
    with pytest.raises(DeployError, match=r'links = "nft": this engine does not take our rules: no nf_tables'):
        async with kit.deploy("a", base=without_nft, links="nft"):
            pass
    assert kit.left() == []


async def test_where_its_image_cannot_be_had_it_is_said(kit: Any) -> None:
    """Nodes from an image that is there need none to be built."""
    kit.needs = frozenset({LOSS})
    seen = await report(kit, base="127.0.0.1:1/absent:none")
    assert seen.problems == ()
    assert seen.lacks[LOSS].startswith("takes nft, and the image 127.0.0.1:1/absent:none is not there")
    async with kit.deploy("a", base="127.0.0.1:1/absent:none"):
        assert "absent:none is not there" in kit.warned[0][1]
