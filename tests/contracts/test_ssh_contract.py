"""The deployer `ssh` does what every deployer must, on real hosts: under systemd, and where there is none."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest

from fleet.deployers import LEASE, OnPlain, OnSsh, OnSystemd
from harness.api import Deployer, HostSpec
from harness.testing.contracts import DeployerContract

pytestmark = pytest.mark.real


class SshContract(OnSsh, DeployerContract):
    count = 2
    exclusive = True
    dies_alone = LEASE + 15.0

    @pytest.fixture
    def hopeless(self, deployer: Deployer[Any], hosts: Sequence[HostSpec]) -> tuple[Deployer[Any], Sequence[HostSpec]]:
        nobody = dataclasses.replace(self.machines[1], ssh_port=1)
        return deployer, (hosts[0], HostSpec("nobody", nobody.variables()))


class TestSystemd(OnSystemd, SshContract):
    """As root."""


class TestPlain(OnPlain, SshContract):
    """No systemd, and a user who is not root."""
