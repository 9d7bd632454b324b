"""Links of the deployer `docker` keep their contract where nft alone shapes them, where that and relays do, and where
relays alone do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import anyio
import pytest

from harness.api import CUT, Deployer, Flow, HostSpec, Link, MachineCapability
from harness.testing.contracts.bench import READY_WITHIN, Bench, Net
from harness.testing.contracts.links import LinksSuite
from harness.testing.contracts.shapes import ShapesSuite
from harness.testing.waiting import eventually
from harness_docker.deployer import DockerConfig, DockerDeployer

pytestmark = pytest.mark.real


class DockerLinksContract(LinksSuite, ShapesSuite):
    links: ClassVar[str]
    offered: ClassVar[set[str]]

    @pytest.fixture(autouse=True)
    def _look(self, docker_engine: Any) -> None:
        self.engine = docker_engine

    @pytest.fixture
    def deployer(self) -> Deployer[Any]:
        return DockerDeployer(DockerConfig.model_validate({"links": self.links}))

    @pytest.fixture
    def hosts(self) -> Sequence[HostSpec]:
        return (HostSpec("engine", {"ansible_connection": "docker"}),)

    async def leftovers(self, run_id: str, run_dir: Path) -> Sequence[str]:
        return [str(line) for line in self.engine("ps", "--all", "--quiet", f"--filter=label=harness.run={run_id}")]

    async def test_what_is_offered(self, bench: Bench) -> None:
        [report] = await bench.deployer.inspect(bench.planned(5), bench.chain, bench.request().access)
        assert {str(can) for can in report.capabilities if can.startswith("link-")} == self.offered
        links = {can for can in MachineCapability if can.value.startswith("link-")}
        assert links & report.lacks.keys() == links - report.capabilities


class RulesContract(DockerLinksContract):
    """Looked at with nft itself, past the deployer."""

    def nft(self, bench: Bench, node: str, *command: str) -> str:
        """In a node's network namespace."""
        run = f"--filter=label=harness.run={bench.runs[-1].run_id}"
        [pod] = self.engine("ps", "--quiet", run, f"--filter=name={node}.net$").split()
        return str(self.engine("exec", "--user=0", pod, "nft", *command))

    def ours(self, bench: Bench, net: Net) -> list[str]:
        """Nodes whose namespace has our table."""
        return [node for node in net.nodes if "inet harness" in self.nft(bench, node, "list", "tables")]

    async def test_tables_of_others_stay(self, bench: Bench) -> None:
        async with bench.up(2) as net:
            a, b = net.nodes
            await anyio.to_thread.run_sync(self.nft, bench, b, "add table inet bystander; add table inet harness")
            before = self.nft(bench, b, "list", "ruleset")
            assert "table ip nat" in before, "the engine's own, for names"
            for _ in range(2):
                await net.deployment.shape_links({Flow(a, b): CUT})
                [ours] = [line for line in self.nft(bench, b, "list", "tables").splitlines() if "harness_" in line]
                self.nft(bench, b, "delete", *ours.split())
                assert self.nft(bench, b, "list", "ruleset") == before
                await net.deployment.shape_links({Flow(a, b): CUT})
                await net.deployment.shape_links({})
                assert self.nft(bench, b, "list", "ruleset") == before

    async def test_a_node_that_is_started_hears_nothing_from_its_first_packet_on(self, bench: Bench) -> None:
        """The other one dials it all the time, over its stop and start, and is heard by nobody; the controller is."""
        async with bench.up(3) as net:
            a, b, c = net.nodes
            await net.deployment.shape_links({Flow(a, b): CUT, Flow(b, a): CUT})
            assert self.ours(bench, net) == [a, b]
            met: list[Any] = []

            async def dial() -> None:
                while True:
                    met.append(await net.dial(Link(a, b)))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(dial)
                for _ in range(2):
                    await net.nodes[b].kill()
                    assert self.ours(bench, net) == [a, b], "rules went with the process"
                    await net.nodes[b].start()
                    await net.nodes[b].wait_ready(READY_WITHIN)
                    assert await net.dial(Link(c, b)) == b
                tasks.cancel_scope.cancel()
            assert b not in met
            await net.deployment.shape_links({})
            assert self.ours(bench, net) == []
            await eventually(lambda: _reaches(net, Link(a, b)), "the link is mended")

    async def test_links_of_a_paused_node_are_cut_and_mended(self, bench: Bench) -> None:
        async with bench.up(2) as net:
            a, b = net.nodes
            await net.nodes[b].pause()
            await net.deployment.shape_links({Flow(a, b): CUT, Flow(b, a): CUT})
            assert self.ours(bench, net) == [a, b]
            await net.nodes[b].resume()
            assert await net.dial(Link(a, b)) != b
            await net.nodes[b].pause()
            await net.deployment.shape_links({})
            assert self.ours(bench, net) == []
            await net.nodes[b].resume()
            await eventually(lambda: _reaches(net, Link(a, b)), "the link is mended")


async def _reaches(net: Net, link: Link) -> bool:
    return bool(await net.dial(link) == link.dst)


class TestRules(RulesContract):
    links = "nft"
    offered: ClassVar[set[str]] = {"link-control", "link-loss"}


class TestBesideRelays(RulesContract):
    links = "auto"
    offered: ClassVar[set[str]] = {"link-control", "link-loss", "link-delay", "link-rate"}


class TestRelays(DockerLinksContract):
    links = "relay"
    offered: ClassVar[set[str]] = {"link-control", "link-delay", "link-rate"}
