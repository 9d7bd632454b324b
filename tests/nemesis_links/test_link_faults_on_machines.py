"""Faults on links between real nodes of every deployer: by what the nodes find themselves when they dial, which shares
nothing with the faults' own proof; injected twice, healed twice, healed after a target died."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from random import Random
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest

from harness.api import Deployer, Fault, FaultContext, HostSpec, Link, Machine, SystemClock
from harness.engine.stage import InjectionContext, Stage
from harness.engine.wiring import Wiring
from harness.testing.contracts.base import DeployerSuite
from harness.testing.contracts.bench import Bench, Net
from harness.testing.waiting import eventually
from harness_docker.deployer import DockerConfig, DockerDeployer
from harness_nemesis.bandwidth import Bandwidth
from harness_nemesis.block_peer import BlockPeer
from harness_nemesis.latency import Latency
from harness_nemesis.loss import Loss
from harness_nemesis.partition import Partition
from harness_nemesis.shaping import MECHANISM
from harness_process.deployer import ProcessConfig, ProcessDeployer
from harness_ssh.deployer import SshConfig, SshDeployer

pytestmark = pytest.mark.real

DELAY = 0.15
"""Seconds, one way."""

QUEUES = """tc qdisc add dev lo root handle 1: htb &&
tc filter add dev lo parent 1: protocol ip u32 match ip dst 127.0.0.1 flowid 1:1"""
"""For a shell in a network of its own: whether rates can be by tc."""

RATE, SIZE = 1_000_000, 3_000_000
"""Bytes a second, and bytes that a node sends."""


def make(cls: type[Fault[Any]], **options: Any) -> Fault[Any]:
    return cls(cls.Config.model_validate({"patience": "1s", **options}))


def context_of(net: Net) -> FaultContext:
    links = tuple(Bench.links(net.nodes))
    wiring = Wiring(links, net.nodes)
    wiring.deployment = net.deployment
    network = cast(Any, SimpleNamespace(power=lambda spec: 1))
    stage = Stage(cast(Any, None), network, net.nodes, SystemClock(), 7)
    return InjectionContext("f1", tuple(net.nodes.values()), stage, wiring, Random(7), tuple)


async def reached(net: Net, link: Link) -> bool:
    return bool(await net.dial(link) == link.dst)


class LinkFaultsContract(DeployerSuite):
    @property
    def slows(self) -> str:
        """The mechanism of rates."""
        return "relay"

    def look_slowed(self, slowed: bool) -> None:
        """See on the machines themselves whether their traffic is slowed, where that can be seen."""

    async def needs(self, bench: Bench, fault: Fault[Any]) -> None:
        """That the machines can do it."""
        reports = await bench.deployer.inspect(bench.planned(3), bench.chain, bench.request().access)
        assert all(fault.requires_machine() <= report.capabilities for report in reports)

    @pytest.mark.parametrize(
        ("fault", "options", "cut"),
        [
            (Partition, {"shape": "halves"}, {"02", "20", "12", "21"}),
            (Partition, {"grudge": {"member-0": ["member-1"]}}, {"01", "10"}),
            (BlockPeer, {"from": "member-2", "to": "member-0"}, {"02", "20"}),
        ],
        ids=["halves", "one way", "block_peer"],
    )
    async def test_nodes_do_not_reach_whom_they_shall_not(
        self, bench: Bench, fault: type[Fault[Any]], options: dict[str, Any], cut: set[str]
    ) -> None:
        one = make(fault, **options)
        await self.needs(bench, one)
        async with bench.up(3) as net:
            ctx, names = context_of(net), list(net.nodes)
            links = {f"{a}{b}": Link(names[a], names[b]) for a in range(3) for b in range(3) if a != b}
            for _ in range(2):
                await one.inject(ctx)
                proof = await one.prove(ctx)
                assert proof.holds is True, proof.seen
                for ends, link in links.items():
                    assert await reached(net, link) == (ends not in cut), ends
            for _ in range(2):
                await one.heal(ctx)
                healed = await one.prove_healed(ctx)
                assert healed.holds is True, healed.seen
                for link in links.values():
                    await eventually(partial(reached, net, link), f"{link} is mended")

    async def test_dials_of_nodes_take_as_long_as_they_shall(self, bench: Bench) -> None:
        one = make(Latency, delay=f"{DELAY}s")
        await self.needs(bench, one)
        async with bench.up(3) as net:
            ctx, link = context_of(net), Link(*list(net.nodes)[:2])
            before = await _took(net, link)
            for _ in range(2):
                await one.inject(ctx)
                proof = await one.prove(ctx)
                assert proof.holds is True, proof.seen
            assert await _took(net, link) >= DELAY  # what a node says at once comes one way
            for _ in range(2):
                await one.heal(ctx)
                healed = await one.prove_healed(ctx)
                assert healed.holds is True, healed.seen
            assert await _took(net, link) < before + DELAY

    async def test_nodes_send_no_faster_than_they_shall(self, bench: Bench) -> None:
        one = make(Bandwidth, rate=RATE)
        await self.needs(bench, one)
        async with bench.up(3) as net:
            ctx, (a, b, _) = context_of(net), list(net.nodes)
            await net.connect(Link(a, b), "ab")
            assert await net.ask(a, "push", "ab", SIZE, timeout=60.0) < 0.5 * SIZE / RATE
            for _ in range(2):
                await one.inject(ctx)
                proof = await one.prove(ctx)
                assert proof.holds is True, proof.seen
                assert proof.seen[MECHANISM] == self.slows
                self.look_slowed(True)
                assert await net.ask(a, "push", "ab", SIZE, timeout=60.0) >= 0.8 * SIZE / RATE
            for _ in range(2):
                await one.heal(ctx)
                healed = await one.prove_healed(ctx)
                assert healed.holds is True, healed.seen
                self.look_slowed(False)
                assert await net.ask(a, "push", "ab", SIZE, timeout=60.0) < 0.5 * SIZE / RATE

    @pytest.mark.parametrize(
        ("fault", "options"),
        [
            (Partition, {"shape": "isolate"}),
            (BlockPeer, {"from": "member-2", "to": "member-0"}),
            (Latency, {"delay": f"{DELAY}s"}),
            (Bandwidth, {"rate": RATE}),
        ],
        ids=["partition", "block_peer", "latency", "bandwidth"],
    )
    async def test_healed_after_a_target_died(
        self, bench: Bench, fault: type[Fault[Any]], options: dict[str, Any]
    ) -> None:
        one = make(fault, healed_within="20s", **options)
        await self.needs(bench, one)
        async with bench.up(3) as net:
            ctx, names = context_of(net), list(net.nodes)
            await one.inject(ctx)
            await net.nodes[names[2]].kill()
            await one.heal(ctx)
            healed = await one.prove_healed(ctx)
            assert healed.holds is True, healed.seen
            assert await reached(net, Link(names[0], names[1]))


async def _took(net: Net, link: Link) -> float:
    """The least seconds of three dials of a node."""
    took = []
    for _ in range(3):
        began = time.monotonic()
        assert await reached(net, link)
        took.append(time.monotonic() - began)
    return min(took)


class TestProcess(LinkFaultsContract):
    @pytest.fixture
    def deployer(self) -> Deployer[Any]:
        return ProcessDeployer(ProcessConfig())

    @pytest.fixture
    def hosts(self) -> Sequence[HostSpec]:
        return (HostSpec("here", {"ansible_connection": "local"}),)


class DockerLinks(LinkFaultsContract):
    links: ClassVar[str]

    @pytest.fixture(autouse=True)
    def _engine(self, docker_engine: Callable[..., str]) -> None:
        """An engine there is."""

    @pytest.fixture
    def deployer(self) -> Deployer[Any]:
        return DockerDeployer(DockerConfig.model_validate({"links": self.links}))

    @pytest.fixture
    def hosts(self) -> Sequence[HostSpec]:
        return (HostSpec("engine", {"ansible_connection": "docker"}),)


class TestDocker(DockerLinks):
    links = "relay"


class SshLinks(LinkFaultsContract):
    user: ClassVar[str]

    @pytest.fixture
    def pool(self) -> Any:
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _lease(self, pool: Any) -> Iterator[None]:
        with pool.lease(2) as hosts:
            self.leased = [host.as_user(self.user) for host in hosts]
            yield

    @pytest.fixture
    def deployer(self) -> Deployer[Any]:
        return SshDeployer(SshConfig())

    @pytest.fixture
    def hosts(self) -> Sequence[HostSpec]:
        return tuple(HostSpec(host.name, host.variables()) for host in self.leased)


class TestSystemd(SshLinks):
    user = "root"

    @pytest.fixture
    def pool(self, ssh_hosts: Any) -> Any:
        return ssh_hosts


class TestPlain(SshLinks):
    user = "deploy"

    @pytest.fixture
    def pool(self, ssh_hosts_plain: Any) -> Any:
        return ssh_hosts_plain


class LossesContract(LinkFaultsContract):
    """Packets are dropped by the kernel, and delays are by relays."""

    async def test_packets_are_lost(self, bench: Bench) -> None:
        """By the kernel's own count of what TCP has sent again."""
        one = make(Loss, share=0.3, patience="5s", healed_within="30s")
        await self.needs(bench, one)
        async with bench.up(3) as net:
            ctx, (a, b, _) = context_of(net), list(net.nodes)
            machine = net.nodes[a].machine
            before = await _sent_again(machine)
            for _ in range(2):
                await one.inject(ctx)
            proof = await one.prove(ctx)
            assert proof.holds is True, proof.seen
            assert await _sent_again(machine) - before >= 5, "nothing had to be sent again"
            for _ in range(2):
                await one.heal(ctx)
            healed = await one.prove_healed(ctx)
            assert healed.holds is True, healed.seen
            before = await _sent_again(machine)
            for _ in range(20):
                assert await reached(net, Link(a, b))
            assert await _sent_again(machine) - before < 5, "packets are lost still"


class TestRules(LossesContract):
    """A machine for each node."""

    @pytest.fixture(autouse=True)
    def _lease(self, ssh_hosts: Any) -> Iterator[None]:
        with ssh_hosts.lease(3) as hosts:
            self.leased = hosts
            yield
            for host in hosts:
                assert b"harness" not in host.exec("nft", "list", "tables").stdout

    @pytest.fixture
    def deployer(self) -> Deployer[Any]:
        return SshDeployer(SshConfig())

    @pytest.fixture
    def hosts(self) -> Sequence[HostSpec]:
        return tuple(HostSpec(host.name, host.variables()) for host in self.leased)

    @property
    def slows(self) -> str:
        """tc, where machines have it and their kernel the queue and the filter."""
        return (
            "tc"
            if self.leased[0].exec("unshare", "--net", "sh", "-c", QUEUES, check=False).returncode == 0
            else "relay"
        )

    def look_slowed(self, slowed: bool) -> None:
        for host in self.leased:
            assert (b"htb" in host.exec("tc", "qdisc", "show").stdout) == (slowed and self.slows == "tc")


class TestDockerRules(LossesContract, DockerLinks):
    """A network namespace for each node."""

    links = "auto"


async def _sent_again(machine: Machine) -> int:
    """Segments, since it was started: RetransSegs of the kernel's Tcp counters."""
    text = (await machine.run(("cat", "/proc/net/snmp"))).stdout.decode()
    names, values = (line.split() for line in text.splitlines() if line.startswith("Tcp:"))
    return int(values[names.index("RetransSegs")])
