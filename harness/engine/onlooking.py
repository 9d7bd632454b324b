"""What stands in for machines and deployers where there are none: nodes that are adopted by their endpoints alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, NoReturn

from harness.errors import InfrastructureError, Unsupported
from harness.plugin.contract.base import NoConfig
from harness.plugin.contract.chain import Artifact, Chain
from harness.plugin.contract.deployer import (
    Access,
    Deployer,
    Deployment,
    DeployRequest,
    HostReport,
    HostSpec,
    PlannedNode,
)
from harness.plugin.contract.machine import Address, Completed, Facts, Machine, Service, ServiceSpec
from harness.spec.deployer_choice import ADOPTING
from harness.spec.topology import Link


class NoMachine(Machine):
    """A host of which nothing is known but what its node's endpoints say."""

    capabilities = frozenset()

    def __init__(self, name: str) -> None:
        self.name = name

    def _refuse(self) -> NoReturn:
        raise InfrastructureError(f"{self.name} is adopted by its endpoints alone: nothing is known of its machine")

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
        self._refuse()

    async def put(self, content: bytes | Path, path: PurePosixPath, mode: int = 0o644) -> None:
        self._refuse()

    async def get(self, path: PurePosixPath) -> bytes:
        self._refuse()

    async def fetch(self, path: PurePosixPath, to: Path) -> None:
        self._refuse()

    async def remove(self, path: PurePosixPath) -> None:
        self._refuse()

    async def spawn(self, spec: ServiceSpec) -> Service:
        self._refuse()

    async def facts(self) -> Facts:
        self._refuse()


class NoDeployer(Deployer[NoConfig]):
    """Nothing is deployed: the network runs already, and is reached at its endpoints alone."""

    name = ADOPTING
    capabilities = frozenset()

    def __init__(self) -> None:
        super().__init__(NoConfig())

    async def inspect(self, nodes: Sequence[PlannedNode], chain: Chain[Any], access: Access) -> Sequence[HostReport]:
        return ()

    def connect(self, hosts: Sequence[HostSpec], access: Access) -> AbstractAsyncContextManager[Mapping[str, Machine]]:
        raise Unsupported("these hosts are adopted by their endpoints alone: nothing can be done on their machines")

    @asynccontextmanager
    async def deploy(self, request: DeployRequest) -> AsyncIterator[Deployment]:
        yield _Nothing()

    async def clean(self, run_id: str, run_dir: Path) -> Sequence[str]:
        return ()


class _Nothing(Deployment):
    placements = MappingProxyType({})

    def link_address(self, link: Link) -> Address:
        raise KeyError(link)

    def endpoint(self, node: str, port: str) -> Address:
        raise KeyError(node)

    async def provide(self, machine: Machine, artifact: Artifact) -> PurePosixPath:
        raise KeyError(machine.name)
