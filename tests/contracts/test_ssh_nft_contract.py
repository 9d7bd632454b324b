"""Links of the deployer `ssh` keep their contract too where nft shapes them, alone and beside relays."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from harness.api import Deployer, Flow, HostSpec, LinkShape, MachineCapability
from harness.testing.contracts.bench import Bench
from harness.testing.contracts.links import LinksSuite
from harness.testing.contracts.shapes import ShapesSuite
from harness_ssh.deployer import SshConfig, SshDeployer

pytestmark = pytest.mark.real


class NftContract(LinksSuite, ShapesSuite):
    """A machine for each node of each test. A table of somebody else's is there all the time."""

    links: ClassVar[str]
    user: ClassVar[str]
    offered: ClassVar[set[str]]
    exclusive = True

    @pytest.fixture
    def pool(self) -> Any:
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _lease(self, pool: Any) -> Iterator[None]:
        with pool.lease(4) as hosts:
            self.machines = [host.as_user(self.user) for host in hosts]
            before = [self.queues(host) for host in hosts]
            for host in hosts:
                host.exec("nft", "add table inet bystander")
            try:
                yield
                assert all(self.tables(host) == ["inet bystander"] for host in hosts)
                assert [self.queues(host) for host in hosts] == before
            finally:
                for host in hosts:
                    host.exec("nft", "delete table inet bystander")

    @pytest.fixture
    def deployer(self) -> Deployer[Any]:
        return SshDeployer(SshConfig.model_validate({"links": self.links}))

    @pytest.fixture
    def hosts(self) -> Sequence[HostSpec]:
        return [HostSpec(host.name, host.variables()) for host in self.machines]

    async def leftovers(self, run_id: str, run_dir: Path) -> Sequence[str]:
        return [table for host in self.machines for table in self.tables(host) if run_id in table]

    @staticmethod
    def tables(host: Any) -> list[str]:
        """Looked at past ssh."""
        listed = json.loads(host.exec("nft", "--json", "list", "tables").stdout)["nftables"]
        return [f"{one['table']['family']} {one['table']['name']}" for one in listed if "table" in one]

    @staticmethod
    def queues(host: Any) -> str:
        return str(host.exec("tc", "qdisc", "show").stdout)

    async def test_what_is_offered(self, bench: Bench) -> None:
        reports = await bench.deployer.inspect(bench.planned(4), bench.chain, bench.request().access)
        for report in reports:
            assert {str(can) for can in report.capabilities if can.startswith("link-")} == self.offered
            assert not report.capabilities & report.lacks.keys()
        crowded = await bench.deployer.inspect(bench.planned(5), bench.chain, bench.request().access)
        assert not any(MachineCapability.LINK_LOSS in report.capabilities for report in crowded)
        assert all("several nodes" in report.lacks[MachineCapability.LINK_LOSS] for report in crowded)


class TestAlone(NftContract):
    links = "nft"
    user = "root"
    offered: ClassVar[set[str]] = {"link-control", "link-loss"}

    @pytest.fixture
    def pool(self, ssh_hosts: Any) -> Any:
        return ssh_hosts


class TestBesideRelays(NftContract):
    """No systemd, and a user who becomes root for what only root may do."""

    links = "auto"
    user = "deploy"
    offered: ClassVar[set[str]] = {"link-control", "link-loss", "link-delay", "link-rate"}

    @pytest.fixture
    def pool(self, ssh_hosts_plain: Any) -> Any:
        return ssh_hosts_plain

    async def test_rates_are_the_kernels(self, bench: Bench) -> None:
        async with bench.up(3) as net:
            a, b, _ = net.nodes
            assert net.deployment.mechanisms(LinkShape(rate=100_000.0, cut=True)) == {"nft", "tc"}
            await net.deployment.shape_links({Flow(a, b): LinkShape(rate=100_000.0)})
            assert sum("htb 4841: " in self.queues(host) for host in self.machines) == 1
            await net.deployment.shape_links({})
            assert not any("htb" in self.queues(host) for host in self.machines)
            await net.deployment.shape_links({Flow(a, b): LinkShape(rate=100_000.0)})
