"""Testnets that run already: started here, by nobody's harness, before a playbook is run against them."""

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
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import anyio
import pytest

from fleet.host import inventory
from harness.api import Address, Chain, Launch, Network, NetworkSpec, NodeSite, PeerAddress, TopologySpec, WalletsSpec
from harness.spec.inventory import Inventory
from harness.spec.topology import Topology, build_topology
from harness.testing.fakes import FACTS
from harness_cometbft.chain import CometBFT
from harness_devnet.chain import Devnet

LOCAL = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(closing(socket.socket())) for _ in range(count)]
        for each in sockets:
            each.bind((LOCAL, 0))
        return [each.getsockname()[1] for each in sockets]


def topology(layout: str, roles: Mapping[str, int]) -> Topology:
    return build_topology(TopologySpec(layout, roles), random.Random(1))


@dataclass(frozen=True, slots=True)
class Where:
    """Where one node of a testnet is to live. `reach` is the host under which its peers dial it."""

    folder: PurePosixPath
    bind: str
    reach: str
    ports: Mapping[str, int]


def launches(
    chain: Chain[Any], network: Network, where: Mapping[str, Where], artifacts: Mapping[str, PurePosixPath], python: str
) -> dict[str, Launch]:
    """What each node is started with."""
    nodes = network.spec.topology
    return {
        node.name: network.launch(
            NodeSite(
                node=node,
                directory=where[node.name].folder,
                bind=where[node.name].bind,
                advertise=where[node.name].reach,
                ports=where[node.name].ports,
                dials=tuple(
                    PeerAddress(nodes.node(link.dst), Address(where[link.dst].reach, where[link.dst].ports["p2p"]))
                    for link in nodes.links
                    if link.src == node.name
                ),
                artifacts=artifacts,
                python=python,
            )
        )
        for node in nodes.nodes
    }


def network_of(
    chain: Chain[Any],
    roles: Mapping[str, int],
    *,
    layout: str = "star",
    seed: int = 5,
    wallets: int = 6,
    balance: int = 10_000,
    run_id: str = "somebody-elses",
) -> Network:
    spec = NetworkSpec(run_id, seed, topology(layout, roles), WalletsSpec(wallets, balance), time.time())
    return chain.network(spec)


class Testnet:
    """Nodes as processes of this machine, with a pid file and a log each. `hosts` are their names in inventories."""

    __test__ = False

    def __init__(self, folder: Path, chain: Chain[Any], network: Network) -> None:
        self.folder = folder
        self.network = network
        self.nodes = network.spec.topology.nodes
        self.hosts = {node.name: f"host-{node.name}" for node in self.nodes}
        self._artifacts = {}
        for artifact in chain.artifacts(FACTS):
            if isinstance(artifact.content, Path):
                self._artifacts[artifact.name] = PurePosixPath(artifact.content)
            else:
                (folder / artifact.name).write_bytes(artifact.content)
                self._artifacts[artifact.name] = PurePosixPath(folder / artifact.name)
        numbers = iter(free_ports(2 * len(self.nodes)))
        where = {
            node.name: Where(
                PurePosixPath(folder / node.name), LOCAL, LOCAL, {"p2p": next(numbers), "api": next(numbers)}
            )
            for node in self.nodes
        }
        self.apis = {name: Address(LOCAL, at.ports["api"]) for name, at in where.items()}
        self._launches = launches(chain, network, where, self._artifacts, sys.executable)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        for name, launch in self._launches.items():
            for file in launch.files:
                path = folder / name / file.path
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(file.content)
                path.chmod(file.mode)

    def start(self, *names: str) -> None:
        for name in names or self._launches:
            launch = self._launches[name]
            with self.log(name).open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    launch.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **launch.env}
                )
            self.pid_file(name).write_text(f"{self.processes[name].pid}\n")
        for name in names or self._launches:
            self._wait_until_it_listens(name)

    def _wait_until_it_listens(self, name: str) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection((self.apis[name].host, self.apis[name].port), timeout=1).close()
                return
            except OSError:
                assert time.monotonic() < deadline, self.log(name).read_text()[-2000:]
                time.sleep(0.02)

    async def reach(self, height: int) -> None:
        """Wait until all nodes have a block of this height."""
        with anyio.fail_after(30):
            for node in self.nodes:
                client = self.network.client(node, self.apis[node.name])
                try:
                    while (await client.head()).height < height:
                        await anyio.sleep(0.05)
                finally:
                    await client.aclose()

    @property
    def pids(self) -> dict[str, int]:
        return {name: process.pid for name, process in self.processes.items()}

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def pid_file(self, name: str) -> Path:
        return self.folder / f"{name}.pid"

    def all_there(self) -> bool:
        """Whether all its processes live and run."""
        return all(process.poll() is None and state_of(process.pid) in "RSD" for process in self.processes.values())

    def close(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()

    def inventory(self, of: Callable[[str], str], more: str = "") -> Inventory:
        """Nodes in the groups of their roles; `of` gives a node's variables beside `manage` and `endpoints`."""
        lines = []
        for role in dict.fromkeys(node.role for node in self.nodes):
            for node in self.nodes:
                if node.role == role:
                    lines.append(f'[{role}s.hosts."{self.hosts[node.name]}"]')
                    lines.append(f'endpoints = {{ api = "{self.apis[node.name]}" }}')
                    lines.append(of(node.name))
        lines += ["[all.vars]", 'manage = "adopt"', more]
        path = self.folder / "inventory.toml"
        path.write_text("\n".join(lines))
        return Inventory.read(path)

    def endpoints_alone(self) -> Inventory:
        return self.inventory(lambda name: "")

    def by_pid_files(self, *, control: bool = False, logs: bool = True) -> Inventory:
        more = 'ansible_connection = "local"\n' + ("control = true\n" if control else "")
        return self.inventory(
            lambda name: f'pid_file = "{self.pid_file(name)}"\n' + (f'log = "{self.log(name)}"' if logs else ""), more
        )


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.fixture
def testnet(tmp_path: Path) -> Iterator[Callable[..., Testnet]]:
    """Starts testnets, of devnet unless `chain` is another; they are killed after the test."""
    with ExitStack() as stack:

        def make(
            roles: Mapping[str, int] | None = None,
            *,
            chain: Chain[Any] | None = None,
            start: bool = True,
            options: Mapping[str, Any] | None = None,
            **spec: Any,
        ) -> Testnet:
            folder = tmp_path / f"testnet-{random.randbytes(3).hex()}"
            folder.mkdir()
            quick = {"slot_duration": "200ms", "security_param": 3}
            chain = chain or Devnet(Devnet.Config.model_validate({**quick, **(options or {})}))
            made = Testnet(folder, chain, network_of(chain, roles or {"validator": 2, "executor": 1}, **spec))
            stack.callback(made.close)
            if start:
                made.start()
            return made

        yield make


@pytest.fixture
def comet() -> Chain[Any]:
    return CometBFT(CometBFT.Config.model_validate({"timeout_commit": "300ms"}))


UNTIL_IT_LISTENS = "for i in $(seq 300); do (exec 3<>/dev/tcp/127.0.0.1/7002) && exit; sleep 0.1; done; exit 1"


class UnitTestnet:
    """Nodes as systemd units of hosts that are reached by ssh, one on each. They listen for us on 127.0.0.1 alone."""

    __test__ = False

    def __init__(self, hosts: list[Any], chain: Chain[Any], network: Network) -> None:
        self.network = network
        self.nodes = network.spec.topology.nodes
        self.at = {node.name: host for node, host in zip(self.nodes, hosts, strict=True)}
        self.units = {node.name: f"testnet-{node.name}.service" for node in self.nodes}
        folder = PurePosixPath("/opt/testnet")
        where = {
            node.name: Where(folder, "0.0.0.0", self.at[node.name].address, {"p2p": 7001, "api": 7002})
            for node in self.nodes
        }
        artifacts = {artifact.name: artifact.content for artifact in chain.artifacts(FACTS)}
        paths = {name: folder / name for name in artifacts}
        for name, launch in launches(chain, network, where, paths, "/usr/bin/python3").items():
            host = self.at[name]
            for artifact, content in artifacts.items():
                assert isinstance(content, bytes)
                put(host, paths[artifact], content)
            for file in launch.files:
                put(host, folder / file.path, file.content)
            command = " ".join(launch.argv)
            unit = f"[Service]\nExecStart={command}\nRestart=always\nRestartSec=100ms\nWorkingDirectory={folder}\n"
            put(host, PurePosixPath("/etc/systemd/system") / self.units[name], unit.encode())
            host.exec("systemctl", "daemon-reload")

    def start(self) -> None:
        for name, host in self.at.items():
            host.exec("systemctl", "start", self.units[name])
        for host in self.at.values():
            host.exec("bash", "-c", UNTIL_IT_LISTENS)

    def show(self, name: str) -> dict[str, str]:
        """State and main pid of a node's unit."""
        shown = self.at[name].exec("systemctl", "show", "--property=ActiveState,MainPID", self.units[name])
        return dict(line.split("=", 1) for line in shown.stdout.decode().splitlines())

    @property
    def pids(self) -> dict[str, str]:
        return {name: self.show(name)["MainPID"] for name in self.at}

    def all_active(self) -> bool:
        return all(self.show(name)["ActiveState"] == "active" for name in self.at)

    def remove(self) -> None:
        for name, host in self.at.items():
            host.exec("systemctl", "stop", self.units[name])
            host.exec("rm", "-rf", "/opt/testnet", f"/etc/systemd/system/{self.units[name]}")
            host.exec("systemctl", "daemon-reload")

    def inventory(self, path: Path, **variables: str | int | bool) -> Inventory:
        hosts = [self.at[node.name] for node in self.nodes]
        text = inventory(hosts, manage="adopt", **variables)
        text += "[all.vars.endpoints]\napi = 7002\n"
        for node in self.nodes:
            text += f'[{node.role}s.hosts."{self.at[node.name].name}"]\nunit = "{self.units[node.name]}"\n'
        path.write_text(text)
        return Inventory.read(path)


def put(host: Any, path: PurePosixPath, content: bytes) -> None:
    host.exec("mkdir", "-p", str(path.parent))
    host.exec("tee", str(path), input=content)


@pytest.fixture
def unit_testnet(ssh_hosts: Any) -> Iterator[Callable[..., UnitTestnet]]:
    """Starts devnets as units of leased hosts, which are as they were after the test."""
    with ExitStack() as stack:

        def make(roles: Mapping[str, int] | None = None, **options: Any) -> UnitTestnet:
            roles = roles or {"validator": 2}
            hosts = stack.enter_context(ssh_hosts.lease(sum(roles.values())))
            quick = {"slot_duration": "200ms", "security_param": 3}
            chain = Devnet(Devnet.Config.model_validate({**quick, **options}))
            made = UnitTestnet(hosts, chain, network_of(chain, roles, layout="full"))
            stack.callback(made.remove)
            made.start()
            return made

        yield make
