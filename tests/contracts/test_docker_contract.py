"""The deployer `docker` does what every deployer must, on a real engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.api import Deployer, HostSpec
from harness.testing.contracts import DeployerContract
from harness_docker.deployer import DockerConfig, DockerDeployer

pytestmark = pytest.mark.real

ENGINE = HostSpec("engine", {"ansible_connection": "docker"})


class TestDocker(DeployerContract):
    dies_alone = 30.0

    @pytest.fixture(autouse=True)
    def _look(self, docker_engine: Any, processes_of: Callable[[str], list[str]]) -> None:
        self.engine = docker_engine
        self.processes_of = processes_of

    @pytest.fixture
    def deployer(self) -> Deployer[Any]:
        return DockerDeployer(DockerConfig())

    @pytest.fixture
    def hosts(self) -> Sequence[HostSpec]:
        return (ENGINE,)

    @pytest.fixture
    def hopeless(self) -> tuple[Deployer[Any], Sequence[HostSpec]]:
        return DockerDeployer(DockerConfig(image="harness-no-such-image:1", pull="never")), (ENGINE,)

    async def leftovers(self, run_id: str, run_dir: Path) -> Sequence[str]:
        """Whatever the engine has that names the run in a name, a label, an argument or a path; and processes here."""
        found = []
        for kind, options in (("container", ("--all", "--no-trunc")), ("network", ("--no-trunc",)), ("volume", ())):
            told = self.engine(kind, "ls", *options, "--format", "{{json .}}")
            found += [f"{kind} {line}" for line in told.splitlines() if run_id in line]
        return [*found, *self.processes_of(run_id)]
