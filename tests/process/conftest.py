"""Real deployments of the deployer `process`, small Python programs as nodes, and looks at the kernel."""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Literal

import pytest

from harness.api import Deployment, DeployRequest, HostSpec, Link, NodeSpec, Placement, PlannedNode, ServiceSpec
from harness.testing.fakes import FakeChain, FakeChainConfig
from harness.testing.waiting import eventually
from harness_agent.remote.processes import look
from harness_process.deployer import ProcessConfig, ProcessDeployer

NO_CHAIN = FakeChain(FakeChainConfig())


class Kit:
    """What these tests have in common."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def planned(self, *names: str, **host_vars: str) -> tuple[PlannedNode, ...]:
        host = HostSpec("here", host_vars or {"ansible_connection": "local"})
        return tuple(
            PlannedNode(NodeSpec(name, "validator", number, number), host, ("p2p", "api"), "p2p")
            for number, name in enumerate(names)
        )

    def deploy(
        self,
        *names: str,
        links: Sequence[Link] = (),
        relay: Literal["auto", "on", "off"] = "off",
        run_dir: Path | None = None,
    ) -> AbstractAsyncContextManager[Deployment]:
        """Deploy nodes of these names, in the test's folder unless told otherwise."""
        request = DeployRequest("run", run_dir or self.folder, self.planned(*names), tuple(links), NO_CHAIN)
        return ProcessDeployer(ProcessConfig(relay=relay)).deploy(request)

    def program(self, place: Placement, source: str, *args: str, **env: str) -> ServiceSpec:
        """A Python program as the node of a placement."""
        argv = (sys.executable, "-I", "-S", "-u", "-c", source, *args)
        return ServiceSpec(place.node.name, argv, place.directory, self.folder / "logs" / "node.log", env)

    def log(self) -> str:
        log = self.folder / "logs" / "node.log"
        return log.read_text() if log.exists() else ""

    eventually = staticmethod(eventually)

    @staticmethod
    def is_alive(pid: int) -> bool:
        process = look(pid)
        return process is not None and process.alive

    @staticmethod
    def is_bound(port: int) -> bool:
        """Whether something has this TCP port (what TIME_WAIT keeps is nobody's)."""
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return True
        return False


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    return Kit(tmp_path)
