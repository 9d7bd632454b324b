"""Machines without a disk, on which processes run in name only, and the deployer that has them."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import anyio

from harness.api import (
    Access,
    Address,
    Artifact,
    Chain,
    Completed,
    Config,
    Deployer,
    Deployment,
    DeployRequest,
    Exit,
    Facts,
    HostReport,
    InfrastructureError,
    Link,
    Machine,
    MachineCapability,
    Placement,
    PlannedNode,
    Service,
    ServiceSpec,
    SystemClock,
    TeardownError,
    Transaction,
)


@dataclass
class FakeWorld:
    """What a fake network is made of, shared by its chain and its deployer; one to a run.

    `services` are those that were ever spawned, by node; `files` what was put on the machine."""

    services: dict[str, FakeService] = field(default_factory=dict)
    starts: Counter[str] = field(default_factory=Counter)
    files: dict[PurePosixPath, bytes] = field(default_factory=dict)
    sent: list[Transaction] = field(default_factory=list)
    included: dict[int, list[str]] = field(default_factory=dict)
    torn_down: bool = False

    _worlds = {}  # type: ignore[var-annotated]  # noqa: RUF012 - run id → world

    @classmethod
    def of(cls, run_id: str) -> FakeWorld:
        """The world of this run, made at first use."""
        world: FakeWorld = cls._worlds.setdefault(run_id, cls())
        return world

    def runs(self, node: str) -> bool:
        """Whether the node's process lives and is not paused."""
        service = self.services.get(node)
        return service is not None and service.exit is None and not service.paused


class FakeService(Service):
    """A process in name only. Option "deaf" in its argv: it ignores every signal but SIGKILL."""

    _pids = iter(range(100_000, 10_000_000))

    def __init__(self, spec: ServiceSpec) -> None:
        self.spec = spec
        self.paused = False
        self._pid = next(self._pids)
        self._exit: Exit | None = None
        self._ended = anyio.Event()

    @property
    def pid(self) -> int:
        return self._pid

    @property
    def start_time(self) -> float:
        return float(self._pid)

    @property
    def exit(self) -> Exit | None:
        return self._exit

    async def wait(self) -> Exit:
        await self._ended.wait()
        assert self._exit is not None
        return self._exit

    async def signal(self, number: int) -> None:
        if number in (signal.SIGSTOP, signal.SIGCONT):
            self.paused = number == signal.SIGSTOP
        elif number == signal.SIGKILL or "deaf" not in self.spec.argv:
            self.end(Exit(None, number, SystemClock().wall()))

    def end(self, how: Exit) -> None:
        """Let it end, as if by itself."""
        if self._exit is None:
            self._exit = how
            self._ended.set()

    async def state(self) -> str:
        return "gone" if self._exit else "paused" if self.paused else "running"


FACTS = Facts("fake", "Linux", "6.1", "x86_64", "3.11.7", 1, 0, 0)
"""What a fake machine says of itself."""


class FakeMachine(Machine):
    """Holds files in a dict and services in its world."""

    name = "fake"
    capabilities = frozenset({MachineCapability.NODE_CONTROL, MachineCapability.PAUSE})

    def __init__(self, world: FakeWorld) -> None:
        self._world = world

    async def run(
        self,
        argv: Sequence[str],
        *,
        input: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: PurePosixPath | None = None,
        timeout: float = 60.0,
        become: bool = False,
    ) -> Completed:
        raise InfrastructureError("a fake machine runs no commands")

    async def put(self, content: bytes | Path, path: PurePosixPath, mode: int = 0o644) -> None:
        self._world.files[path] = content if isinstance(content, bytes) else b""

    async def get(self, path: PurePosixPath) -> bytes:
        if path not in self._world.files:
            raise FileNotFoundError(str(path))
        return self._world.files[path]

    async def fetch(self, path: PurePosixPath, to: Path) -> None:
        await anyio.Path(to).write_bytes(await self.get(path))

    async def remove(self, path: PurePosixPath) -> None:
        self._world.files.pop(path, None)

    async def spawn(self, spec: ServiceSpec) -> Service:
        service = FakeService(spec)
        self._world.services[spec.name] = service
        self._world.starts[spec.name] += 1
        return service

    async def facts(self) -> Facts:
        return FACTS


class FakeDeployerConfig(Config):
    """What is to go wrong: `fail_deploy` refuses to make machines, `fail_teardown` leaves something behind; with both,
    it refuses in the middle of making them, and leaves that."""

    fail_deploy: bool = False
    fail_teardown: bool = False


class FakeDeployer(Deployer[FakeDeployerConfig]):
    """Machines in memory."""

    name = "fake"
    Config = FakeDeployerConfig
    capabilities = frozenset({MachineCapability.NODE_CONTROL, MachineCapability.PAUSE})

    async def inspect(self, nodes: Sequence[PlannedNode], chain: Chain[Any], access: Access) -> Sequence[HostReport]:
        return [HostReport(name, self.capabilities, facts=FACTS) for name in sorted({node.host.name for node in nodes})]

    @asynccontextmanager
    async def deploy(self, request: DeployRequest) -> AsyncIterator[Deployment]:
        if self.config.fail_deploy and not self.config.fail_teardown:
            raise InfrastructureError("the fake deployer was asked to fail")
        world = FakeWorld.of(request.run_id)
        try:
            if self.config.fail_deploy:
                raise InfrastructureError("the fake deployer was asked to fail")
            yield FakeDeployment(request, world)
        finally:
            world.torn_down = True
            left = [name for name, service in world.services.items() if service.exit is None]
            if self.config.fail_teardown or left:
                raise TeardownError(f"left behind: {', '.join(left) or 'as asked'}")

    async def clean(self, run_id: str, run_dir: Path) -> Sequence[str]:
        return ()


class FakeDeployment(Deployment):
    """One machine for all nodes."""

    def __init__(self, request: DeployRequest, world: FakeWorld) -> None:
        machine = FakeMachine(world)
        self.placements = {
            node.spec.name: Placement(
                node.spec,
                machine,
                PurePosixPath("/fake") / node.spec.name,
                "fake",
                "fake",
                dict.fromkeys(node.ports, 1),
            )
            for node in request.nodes
        }

    def link_address(self, link: Link) -> Address:
        return Address(link.dst, 1)

    def endpoint(self, node: str, port: str) -> Address:
        return Address(node, 1)

    async def provide(self, machine: Machine, artifact: Artifact) -> PurePosixPath:
        return PurePosixPath("/fake") / artifact.name
