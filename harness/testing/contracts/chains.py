"""The suite for chains: what they write, what they promise, and how their nodes answer."""

from __future__ import annotations

import os
import platform
import random
import re
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import anyio
import pytest

from harness.engine.nodes import ManagedNode
from harness.engine.tasks import all_of, plain_errors
from harness.errors import HarnessError, Unreachable
from harness.observe.blocks import Block, BlockHeader
from harness.plugin.contract.base import Capability
from harness.plugin.contract.chain import Chain, ChainClient, Network, NetworkSpec
from harness.plugin.contract.deployer import DeployRequest, HostSpec, PlannedNode
from harness.plugin.contract.machine import Address, Facts
from harness.plugin.discovery import Kind
from harness.plugin.registry import Registry
from harness.record.rundir import RunDirectory
from harness.spec.model import TopologySpec
from harness.spec.topology import build_topology
from harness.testing.contracts import launches
from harness.testing.contracts.bench import start_nodes
from harness.testing.contracts.elsewhere import command
from harness.testing.contracts.launches import GENESIS, WALLETS, digest, launches_of, network_of
from harness.testing.waiting import eventually

FACTS = Facts("here", "Linux", platform.release(), platform.machine(), "3.11.0", 2, 2**32, 2**36)
CLOSED = Address("127.0.0.1", 1)
"""Nothing listens there: only root could, and tcpmux (RFC 1078) is dead."""


class Chained:
    """A network that is up: its nodes and its blocks."""

    def __init__(self, network: Network, nodes: Mapping[str, ManagedNode]) -> None:
        self.network = network
        self.nodes = nodes

    def clients(self) -> dict[str, ChainClient]:
        return {name: node.client() for name, node in self.nodes.items()}

    async def final_height(self) -> int:
        """The height up to which every node says that blocks are final."""
        return min([(await client.head()).final_height for client in self.clients().values()])


@pytest.mark.anyio
class ChainContract:
    """What every chain must do. Inherit it, and override the fixture `chain`; perhaps `roles`, how many nodes of each
    role make a small network, and `final_within`, seconds for such a network to make three final blocks.

    Nodes run on this machine, by the deployer `process`."""

    final_within: ClassVar[float] = 90.0

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @pytest.fixture
    def chain(self) -> Chain[Any]:
        """The chain, with quick blocks if it can."""
        raise NotImplementedError("override the fixture `chain`")

    @pytest.fixture
    def roles(self, chain: Chain[Any]) -> Mapping[str, int]:
        """Four of the first role that votes, which makes a network that bears the death of one."""
        return {next(name for name, info in chain.roles.items() if info.votes): 4}

    @asynccontextmanager
    async def up(self, chain: Chain[Any], roles: Mapping[str, int], folder: Path) -> AsyncIterator[Chained]:
        """A network whose nodes answer."""
        run = RunDirectory.create(folder / "runs", "contract", time.time())
        topology = build_topology(TopologySpec("full", roles), random.Random(7))
        here = HostSpec("localhost", {"ansible_connection": "local"})
        infos = {node.name: chain.roles[node.role] for node in topology.nodes}
        planned = tuple(
            PlannedNode(node, here, infos[node.name].ports, infos[node.name].peer_port) for node in topology.nodes
        )
        deployer = Registry().get(Kind.DEPLOYER, "process")
        request = DeployRequest(run.run_id, run.path, planned, topology.links, chain)
        network = chain.network(NetworkSpec(run.run_id, 7, topology, WALLETS, time.time()))
        lost: list[HarnessError] = []
        with plain_errors():
            async with (
                deployer(deployer.Config()).deploy(request) as deployment,
                anyio.create_task_group() as tasks,
            ):
                nodes = await start_nodes(network, request, deployment, tasks, lost)
                await all_of(partial(node.wait_ready, self.final_within) for node in nodes.values())
                yield Chained(network, nodes)
                await all_of(node.stop for node in nodes.values())
                await all_of(node.aclose for node in nodes.values())
                tasks.cancel_scope.cancel()
        assert not lost

    def test_it_says_what_it_is(self, chain: Chain[Any], roles: Mapping[str, int]) -> None:
        assert chain.roles.keys() >= roles.keys()
        assert any(info.votes for info in chain.roles.values())
        for info in chain.roles.values():
            assert {info.peer_port, info.api_port} <= set(info.ports) and info.description
            assert len(set(info.ports)) == len(info.ports)
        assert chain.timing.block_interval > 0 and chain.timing.finality_depth >= 0
        assert 0 < chain.tolerance <= 1
        assert (type(chain).__doc__ or "").strip(), "`harness plugins doc` shows its docstring"
        topology = build_topology(TopologySpec("full", roles), random.Random(7))
        assert not chain.check(topology, WALLETS)

    def test_the_same_spec_gives_the_same_bytes(self, chain: Chain[Any], roles: Mapping[str, int]) -> None:
        """Asked again, of another network, in another order, and in another process; another seed gives others."""
        network = network_of(chain, roles, 7)
        first = launches_of(chain, network, FACTS)
        assert launches_of(chain, network, FACTS) == first
        another = network_of(chain, roles, 7)
        backwards = [
            another.launch(launches.site_of(chain, another, node, FACTS))
            for node in reversed(another.spec.topology.nodes)
        ]
        assert backwards == list(reversed(first.values()))
        assert launches_of(chain, network_of(chain, roles, 8), FACTS) != first
        for hash_seed in ("1", "2"):
            told = subprocess.run(
                command(launches.__name__, launches.asked(chain, roles, 7, FACTS)),
                env={**os.environ, "PYTHONHASHSEED": hash_seed},
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            ).stdout
            assert told == digest(first), "another process has made other bytes"

    def test_launches_can_be_launched(self, chain: Chain[Any], roles: Mapping[str, int]) -> None:
        network = network_of(chain, roles, 7)
        for node in network.spec.topology.nodes:
            launch = network.launch(launches.site_of(chain, network, node, FACTS))
            assert launch.argv and all(isinstance(word, str) and "\0" not in word for word in launch.argv)
            paths = [file.path for file in launch.files]
            assert len(set(paths)) == len(paths)
            assert not [path for path in paths if path.is_absolute() or ".." in path.parts]
            assert launch.stop_signal in signal.valid_signals() and launch.stop_timeout > 0
            assert all(re.compile(pattern) for pattern in launch.panic_patterns)
            assert network.power(node) >= 0

    def test_artifacts_are_there(self, chain: Chain[Any]) -> None:
        artifacts = chain.artifacts(FACTS)
        assert chain.artifacts(FACTS) == artifacts
        assert len({artifact.name for artifact in artifacts}) == len(artifacts)
        for artifact in artifacts:
            content = artifact.content
            assert content if isinstance(content, bytes) else content.is_file()

    def test_wallets_are_as_asked_for(self, chain: Chain[Any], roles: Mapping[str, int]) -> None:
        if Capability.TRANSACTIONS not in chain.capabilities:
            pytest.skip("this chain takes no transactions")
        network = network_of(chain, roles, 7)
        assert [wallet.index for wallet in network.wallets] == list(range(WALLETS.count))
        assert len({wallet.address for wallet in network.wallets}) == WALLETS.count
        if Capability.BALANCES in chain.capabilities:
            assert {wallet.balance for wallet in network.wallets} == {WALLETS.balance}
        again = network_of(chain, roles, 7)
        one, other = (net.transactions(random.Random(3)) for net in (network, again))
        made = [one.make(sender) for sender in (0, 1, 0, 3)]
        assert made == [other.make(sender) for sender in (0, 1, 0, 3)]
        assert len({transaction.id for transaction in made}) == 4

    def test_promises_add_up(self, chain: Chain[Any], roles: Mapping[str, int]) -> None:
        """Never fewer blocks for a longer time; nothing for none; about one for each interval."""
        network = network_of(chain, roles, 7)
        interval = chain.timing.block_interval
        moments = [GENESIS + interval * step / 2 for step in range(400)]
        promised = [network.promised_blocks(GENESIS, moment) for moment in moments]
        assert promised[0] == 0
        assert all(before <= after for before, after in pairwise(promised)), "a longer time is promised less"
        assert 100 < promised[-1] < 400, "200 intervals"
        draw = random.Random(1)
        for start, middle, end in (sorted(draw.choices(moments, k=3)) for _ in range(100)):
            parts = network.promised_blocks(start, middle) + network.promised_blocks(middle, end)
            assert network.promised_blocks(start, end) == pytest.approx(parts)

    async def test_what_is_not_there_is_unreachable(self, chain: Chain[Any], roles: Mapping[str, int]) -> None:
        network = network_of(chain, roles, 7)
        client = network.client(network.spec.topology.nodes[0], CLOSED)
        with anyio.fail_after(30):
            for ask in (client.head, client.peers, partial(client.block, "00" * 32, 1), client.version):
                with pytest.raises(Unreachable):
                    await ask()
            with pytest.raises(Unreachable):
                async for _ in client.follow(0):
                    pytest.fail("a block came from nowhere")
            await client.aclose()

    async def test_head_follow_and_block_agree(
        self, chain: Chain[Any], roles: Mapping[str, int], tmp_path: Path
    ) -> None:
        async with self.up(chain, roles, tmp_path) as net:
            height = await self._three_final(net)
            followed = {name: await _follow(client, height) for name, client in net.clients().items()}
            first = next(iter(followed.values()))
            for name, headers in followed.items():
                assert [header.height for header in headers] == list(range(1, height + 1))
                assert all(one.hash == other.parent for one, other in pairwise(headers)), "blocks do not link"
                assert [header.hash for header in headers] == [header.hash for header in first]
                client = net.nodes[name].client()
                for header in headers:
                    block: Block = await client.block(header.hash, header.height)
                    assert block.header.hash == header.hash and block.header.height == header.height
                    assert len(block.tx_ids) == header.tx_count
                head = await client.head()
                assert head.height >= height and head.final_height <= head.height and not head.syncing
                with pytest.raises(LookupError):
                    await client.block("00" * 32, height)
                others = frozenset(net.nodes) - {name}

                async def linked(client: ChainClient = client, others: frozenset[str] = others) -> bool:
                    return await client.peers() == others

                await eventually(linked, f"{name} is linked with all others")
            following = await _follow(next(iter(net.clients().values())), height, after=height - 1)
            assert [header.height for header in following] == [height]

    async def test_a_node_that_was_killed_comes_back_to_the_same_blocks(
        self, chain: Chain[Any], roles: Mapping[str, int], tmp_path: Path
    ) -> None:
        async with self.up(chain, roles, tmp_path) as net:
            before = await self._three_final(net)
            name = list(net.nodes)[-1]
            node, client = net.nodes[name], net.nodes[name].client()
            known = await _follow(client, before)
            await node.kill()
            with anyio.fail_after(30), pytest.raises(Unreachable):
                await client.head()
            await node.start()
            await node.wait_ready(self.final_within)
            assert [h.hash for h in await _follow(client, before)] == [h.hash for h in known]

            async def goes_on() -> bool:
                return await net.final_height() > before + 1

            await eventually(goes_on, "the network goes on with it", self.final_within)

    async def test_transactions_are_included(self, chain: Chain[Any], roles: Mapping[str, int], tmp_path: Path) -> None:
        if Capability.TRANSACTIONS not in chain.capabilities:
            pytest.skip("this chain takes no transactions")
        async with self.up(chain, roles, tmp_path) as net:
            await self._three_final(net)
            factory = net.network.transactions(random.Random(3))
            client = next(iter(net.clients().values()))
            sent = [factory.make(sender) for sender in range(WALLETS.count)]
            for transaction in sent:
                receipt = await client.submit(transaction)
                assert receipt.accepted and receipt.id == transaction.id, receipt.reason
            wanted, found = {transaction.id for transaction in sent}, set[str]()

            async def included() -> bool:
                head = await client.head()
                for header in await _follow(client, head.height) if head.height else ():
                    found.update((await client.block(header.hash, header.height)).tx_ids)
                return wanted <= found

            await eventually(included, "what was sent is in blocks", self.final_within)

    async def _three_final(self, net: Chained) -> int:
        """Wait for the first blocks to be final everywhere; how high that is."""

        async def there() -> bool:
            return await net.final_height() >= 3

        await eventually(there, "three blocks are final at every node", self.final_within)
        return await net.final_height()


async def _follow(client: ChainClient, height: int, after: int = 0) -> Sequence[BlockHeader]:
    """The client's best chain from above `after` up to this height."""
    headers: dict[int, BlockHeader] = {}
    with anyio.fail_after(60):
        async for header in client.follow(after):
            headers[header.height] = header
            if header.height == height:
                break
    return [headers[number] for number in sorted(headers)]
