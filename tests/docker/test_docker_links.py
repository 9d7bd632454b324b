"""The link relay on an engine: a container of the run's own, there where it is needed, and gone with the rest."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from harness.api import CUT, DeployError, Deployment, FaultError, Flow, Link, MachineCapability, Unsupported
from harness.testing.contracts.chain import ContractChain
from harness_docker.deployer import DockerConfig, DockerDeployer

pytestmark = [pytest.mark.anyio, pytest.mark.real]

AB = Link("a", "b")
LINKS = frozenset({MachineCapability.LINK_DELAY})


@asynccontextmanager
async def network(kit: Any) -> AsyncIterator[Deployment]:
    request = replace(kit.request("a", "b", links=[AB]), needs=LINKS, chain=ContractChain(ContractChain.Config()))
    async with DockerDeployer(DockerConfig()).deploy(request) as deployment:
        yield deployment


async def test_it_is_a_container_of_the_run_with_an_address_of_its_own(kit: Any) -> None:
    async with network(kit) as deployment:
        [container] = kit.docker("ps", "-q", f"--filter=label=harness.run={kit.run_id}").split()
        address = deployment.link_address(AB)
        assert address.host not in {place.advertise for place in deployment.placements.values()}
        assert address.host in kit.docker("inspect", container)
        assert kit.docker("inspect", "--format", "{{.Config.User}}", container).strip() not in ("", "0", "root")
    assert kit.left() == []


async def test_a_dead_relay_is_said(kit: Any) -> None:
    async with network(kit) as deployment:
        await deployment.shape_links({Flow("a", "b"): CUT})
        [container] = kit.docker("ps", "-q", f"--filter=label=harness.run={kit.run_id}").split()
        kit.docker("kill", container)
        with pytest.raises(FaultError, match=r"the link relay of docker has ended \(exit status 137\)"):
            await deployment.shape_links({})
        await kit.eventually(lambda: bool(kit.warned), "it is warned of")
        assert "nodes do not reach one another" in kit.warned[0][1]
    assert kit.left() == []


async def test_it_is_not_there_where_it_is_not_needed(kit: Any) -> None:
    async with kit.deployer().deploy(kit.request("a", "b", links=[AB])) as deployment:
        assert deployment.link_address(AB).host == deployment.placements["b"].advertise
        assert kit.docker("ps", "-aq", f"--filter=label=harness.run={kit.run_id}").split() == []
        with pytest.raises(Unsupported, match="none was needed"):
            await deployment.shape_links({Flow("a", "b"): CUT})


async def test_an_image_without_python_is_said(kit: Any) -> None:
    request = replace(kit.request("a", "b", links=[AB]), needs=LINKS)
    with pytest.raises(DeployError, match=r"no link relay: .*Python 3\.11 or newer: option python"):
        async with kit.deployer(python="no-such-python").deploy(request):
            pass
    assert kit.left() == []
