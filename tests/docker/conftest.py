"""Real deployments of the deployer `docker`: shell scripts as nodes, and looks at the engine past the deployer."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from harness.api import (
    Access,
    CommandRecord,
    Deployment,
    DeployRequest,
    HostSpec,
    Link,
    MachineCapability,
    NodeSpec,
    Placement,
    PlannedNode,
    Service,
    ServiceSpec,
)
from harness.testing.fakes import FakeChain, FakeChainConfig
from harness.testing.waiting import eventually
from harness_docker.deployer import DockerConfig, DockerDeployer

BASE = "debian:bookworm-slim"
PATIENCE = 60.0
"""Seconds for a thing to come true before a test calls it untrue; generous, as the machine may be busy."""
FOREVER = "trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done"
"""A node that ends with status 7 on SIGTERM."""


class Kit:
    """What these tests have in common. `docker` is the command line, `needs` what is asked of the machines."""

    needs = frozenset({MachineCapability.NODE_CONTROL})

    def __init__(self, folder: Path, docker: Callable[..., str]) -> None:
        self.folder = folder
        self.docker = docker
        self.audited: list[CommandRecord] = []
        self.warned: list[tuple[str, str]] = []
        self.chain = FakeChain(FakeChainConfig())
        self.run_id = f"test-{uuid.uuid4().hex[:8]}"

    def planned(self, *names: str, **host_vars: Any) -> tuple[PlannedNode, ...]:
        host = HostSpec("here", {"ansible_connection": "docker", **host_vars})
        return tuple(
            PlannedNode(NodeSpec(name, "validator", number, number), host, ("p2p", "api"), "p2p")
            for number, name in enumerate(names)
        )

    def deployer(self, **options: Any) -> DockerDeployer:
        return DockerDeployer(DockerConfig(**{"image": BASE, "pull": "never", **options}))

    def request(
        self, *names: str, links: Sequence[Link] = (), run_dir: Path | None = None, **vars: Any
    ) -> DeployRequest:
        access = Access(audit=self.audited.append, warn=lambda machine, text: self.warned.append((machine, text)))
        nodes = self.planned(*names, **vars)
        folder = run_dir or self.folder / "run"
        return DeployRequest(self.run_id, folder, nodes, tuple(links), self.chain, access, self.needs)

    def deploy(self, *names: str, **options: Any) -> AbstractAsyncContextManager[Deployment]:
        return self.deployer(**options).deploy(self.request(*names))

    @asynccontextmanager
    async def node(self, script: str = FOREVER, **options: Any) -> AsyncIterator[tuple[Placement, Service]]:
        """One node, running."""
        async with self.deploy("v-0", **options) as deployment:
            place = deployment.placements["v-0"]
            yield place, await place.machine.spawn(self.spec(place, script))

    def spec(self, place: Placement, script: str = FOREVER, *args: str, **env: str) -> ServiceSpec:
        """A shell script as the node of a placement."""
        argv = ("sh", "-c", script, "sh", *args)
        return ServiceSpec(place.node.name, argv, place.directory, self.log_path(place.node.name), env)

    def log_path(self, node: str = "v-0") -> Path:
        return self.folder / "logs" / f"{node}.log"

    def log(self, node: str = "v-0") -> str:
        path = self.log_path(node)
        return path.read_text() if path.exists() else ""

    async def ask(self, *args: str) -> str:
        """The docker command, in a thread."""
        return await anyio.to_thread.run_sync(lambda: self.docker(*args))

    async def container(self, node: str = "v-0") -> Mapping[str, Any]:
        """What the engine says of a node's container."""
        found = await self.ask(
            "ps", "-aq", f"--filter=label=harness.node={node}", f"--filter=label=harness.run={self.run_id}"
        )
        [container] = json.loads(await self.ask("inspect", *found.split()))
        return dict(container)

    def left(self) -> list[str]:
        """Everything of this test's run on the engine: others may have theirs there."""
        label = f"--filter=label=harness.run={self.run_id}"
        kinds = {"container": ("ps", "-a"), "network": ("network", "ls"), "volume": ("volume", "ls")}
        return [f"{kind} {id}" for kind, argv in kinds.items() for id in self.docker(*argv, "-q", label).split()]

    async def eventually(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until the condition holds, which may ask the engine."""
        await eventually(lambda: anyio.to_thread.run_sync(condition), what, PATIENCE)

    async def logged(self, text: str, node: str = "v-0") -> None:
        await self.eventually(lambda: text in self.log(node), f"the log has {text!r}")

    async def cancel_while(self, work: Callable[[], Any], moment: Callable[[], bool], what: str) -> None:
        """Start something, cancel it when the moment has come, and wait for its end."""
        over = anyio.Event()

        async def whole() -> None:
            await work()
            over.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(whole)
            await self.eventually(lambda: over.is_set() or moment(), what)
            tasks.cancel_scope.cancel()
        assert not over.is_set(), f"it was over before {what}"


@pytest.fixture
def kit(tmp_path: Path, docker_engine: Any) -> Kit:
    return Kit(tmp_path, docker_engine)


@pytest.fixture
def built_image(tmp_path: Path, docker_engine: Any) -> Iterator[Callable[[str], str]]:
    """Builds an image upon the base one; it is removed after the test."""
    made: list[str] = []

    def build(recipe: str) -> str:
        tag = f"harness-test-{uuid.uuid4().hex}"
        docker_engine("build", "--tag", tag, "-", input=f"FROM {BASE}\n{recipe}\n".encode())
        made.append(tag)
        return tag

    yield build
    for tag in made:
        docker_engine("rmi", "--force", tag)
