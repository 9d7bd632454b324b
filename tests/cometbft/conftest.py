"""A real CometBFT network of subprocesses, without deployer or engine; and values to build networks from."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path, PurePosixPath

import pytest

from harness.api import (
    Address,
    Launch,
    Network,
    NetworkSpec,
    NodeSite,
    PeerAddress,
    Topology,
    TopologySpec,
    UsageError,
    WalletsSpec,
)
from harness.spec.topology import build_topology
from harness_cometbft import binary
from harness_cometbft.chain import CometBFT, CometConfig
from harness_cometbft.client import CometClient
from harness_cometbft.install import install

HOST = "127.0.0.1"
TOOLS = Path(__file__).parents[2] / ".tools" / "bin"


@pytest.fixture(scope="session")
def cometbft() -> Path:
    """The binary, built if need be. Without Go the test is skipped on a developer's machine, and fails in CI."""
    try:
        return binary.find()
    except UsageError:
        pass  # then build it
    try:
        return install(TOOLS)
    except UsageError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


def topology(layout: str = "star", validators: int = 4, full: int = 1) -> Topology:
    return build_topology(TopologySpec(layout, {"validator": validators, "full": full}), random.Random(1))


def network_spec(nodes: Topology, seed: int = 7, run_id: str = "run-1", genesis_time: float = 1.75e9) -> NetworkSpec:
    return NetworkSpec(run_id, seed, nodes, WalletsSpec(count=3), genesis_time)


@pytest.fixture
def make_network() -> Callable[..., Network]:
    """A network from options of the chain (`config`), its layout and its spec."""

    def make(layout: str = "star", config: Mapping[str, object] | None = None, **spec: int | str | float) -> Network:
        return CometBFT(CometConfig.model_validate(config or {})).network(network_spec(topology(layout), **spec))  # type: ignore[arg-type]

    return make


@pytest.fixture
def site_of() -> Callable[[Network, str], NodeSite]:
    """A node's place, with made-up addresses: port 1000 + its number for peers, 2000 + its number for RPC."""

    def site(network: Network, name: str) -> NodeSite:
        nodes = network.spec.topology
        node = nodes.node(name)
        dials = [nodes.node(link.dst) for link in nodes.links if link.src == name]
        return NodeSite(
            node=node,
            directory=PurePosixPath("/nodes") / name,
            bind="0.0.0.0",
            advertise="10.0.0.1",
            ports={"p2p": 1000 + node.number, "api": 2000 + node.number},
            dials=tuple(PeerAddress(peer, Address("10.0.0.1", 1000 + peer.number)) for peer in dials),
            artifacts={"cometbft": PurePosixPath("/tools/cometbft")},
            python="python3",
        )

    return site


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(closing(socket.socket())) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]


class RealNetwork:
    """Nodes as subprocesses of the test."""

    def __init__(self, binary: Path, folder: Path, nodes: Topology, config: Mapping[str, object]) -> None:
        self.topology = nodes
        self.network = CometBFT(CometConfig.model_validate(config)).network(
            network_spec(nodes, run_id=folder.name, genesis_time=time.time())
        )
        self._folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        ports = free_ports(2 * len(nodes.nodes))
        self._p2p = {node.name: Address(HOST, ports[2 * node.number]) for node in nodes.nodes}
        self._api = {node.name: Address(HOST, ports[2 * node.number + 1]) for node in nodes.nodes}
        self._launches = {node.name: self._deploy(binary, node.name) for node in nodes.nodes}

    def _deploy(self, binary: Path, name: str) -> Launch:
        dials = [link.dst for link in self.topology.links if link.src == name]
        launch = self.network.launch(
            NodeSite(
                node=self.topology.node(name),
                directory=PurePosixPath(self._folder / name),
                bind=HOST,
                advertise=HOST,
                ports={"p2p": self._p2p[name].port, "api": self._api[name].port},
                dials=tuple(PeerAddress(self.topology.node(peer), self._p2p[peer]) for peer in dials),
                artifacts={"cometbft": PurePosixPath(binary)},
                python=sys.executable,
            )
        )
        for file in launch.files:
            path = self._folder / name / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.content)
            path.chmod(file.mode)
        return launch

    def start(self, *names: str) -> None:
        for name in names or self._launches:
            with self.log(name).open("ab") as log:
                self._processes[name] = subprocess.Popen(
                    self._launches[name].argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
                )

    def end(self, name: str, number: int) -> int:
        """Send a signal and wait for the end; the return code."""
        process = self._processes.pop(name)
        process.send_signal(number)
        try:
            return process.wait(timeout=self._launches[name].stop_timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def close(self) -> None:
        for name in list(self._processes):
            self.end(name, signal.SIGKILL)

    def client(self, name: str) -> CometClient:
        client = self.network.client(self.topology.node(name), self._api[name])
        assert isinstance(client, CometClient)
        return client

    def launch(self, name: str) -> Launch:
        return self._launches[name]

    def home(self, name: str) -> Path:
        return self._folder / name

    def log(self, name: str) -> Path:
        return self._folder / f"{name}.log"


@pytest.fixture(scope="module")
def start_network(cometbft: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RealNetwork]]:
    """Makes real networks, not yet started; all are killed when the module's tests are over."""
    with ExitStack() as stack:

        def make(
            layout: str = "star", config: Mapping[str, object] | None = None, validators: int = 4, full: int = 1
        ) -> RealNetwork:
            folder = tmp_path_factory.mktemp("comet")
            nodes = topology(layout, validators, full)
            network = RealNetwork(cometbft, folder, nodes, {"timeout_commit": "300ms", **(config or {})})
            stack.callback(network.close)
            return network

        yield make
