"""The deployer `docker` does what every deployer must, on a real engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from fleet.deployers import OnDocker
from harness.api import Deployer, HostSpec
from harness.testing.contracts import DeployerContract
from harness_docker.deployer import DockerConfig, DockerDeployer

pytestmark = pytest.mark.real


class TestDocker(OnDocker, DeployerContract):
    dies_alone = 30.0

    @pytest.fixture
    def hopeless(self, hosts: Sequence[HostSpec]) -> tuple[Deployer[Any], Sequence[HostSpec]]:
        return DockerDeployer(DockerConfig(image="harness-no-such-image:1", pull="never")), hosts
