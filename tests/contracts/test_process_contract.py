"""The deployer `process` does what every deployer must."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.api import Deployer, HostSpec
from harness.testing.contracts import DeployerContract
from harness_process.deployer import ProcessConfig, ProcessDeployer

pytestmark = [pytest.mark.real, pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")]

HERE = HostSpec("localhost", {"ansible_connection": "local"})
FAR = HostSpec("far", {"ansible_connection": "ssh"})


class TestProcess(DeployerContract):
    dies_alone = 2.0

    @pytest.fixture(autouse=True)
    def _look(self, processes_of: Callable[[str], list[str]]) -> None:
        self.processes_of = processes_of

    @pytest.fixture(params=["off", "on"], ids=["plain", "relay"])
    def deployer(self, request: pytest.FixtureRequest) -> Deployer[Any]:
        return ProcessDeployer(ProcessConfig(relay=request.param))

    @pytest.fixture
    def hopeless(self, deployer: Deployer[Any]) -> tuple[Deployer[Any], Sequence[HostSpec]]:
        return deployer, (HERE, FAR)

    async def leftovers(self, run_id: str, run_dir: Path) -> Sequence[str]:
        """Processes, and what the run needed but did not make."""
        folders = [str(path) for path in (run_dir / "artifacts", run_dir / "commands") if path.exists()]
        return [*folders, *await self.active(run_id, run_dir)]

    async def active(self, run_id: str, run_dir: Path) -> Sequence[str]:
        return self.processes_of(run_id)
