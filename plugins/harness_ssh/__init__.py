"""The deployer `ssh`: nodes on machines that are reached over SSH."""

from __future__ import annotations

from harness.api import hookimpl
from harness_ssh.deployer import SshDeployer


@hookimpl
def harness_deployers() -> list[type[SshDeployer]]:
    return [SshDeployer]
