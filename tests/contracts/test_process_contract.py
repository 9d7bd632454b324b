"""The deployer `process` does what every deployer must."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import pytest

from fleet.deployers import OnProcess
from harness.api import Deployer, HostSpec
from harness.testing.contracts import DeployerContract
from harness_process.deployer import ProcessConfig, ProcessDeployer

pytestmark = [pytest.mark.real, pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")]

FAR = HostSpec("far", {"ansible_connection": "ssh"})


class TestProcess(OnProcess, DeployerContract):
    dies_alone = 2.0

    @pytest.fixture(params=["off", "on"], ids=["plain", "relay"])
    def deployer(self, request: pytest.FixtureRequest) -> Deployer[Any]:
        return ProcessDeployer(ProcessConfig(relay=request.param))

    @pytest.fixture
    def hopeless(self, deployer: Deployer[Any], hosts: Sequence[HostSpec]) -> tuple[Deployer[Any], Sequence[HostSpec]]:
        return deployer, (*hosts, FAR)
