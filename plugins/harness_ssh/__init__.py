"""The deployer `ssh`: nodes on machines that are reached over SSH."""

from __future__ import annotations

from harness.api import hookimpl


@hookimpl
def harness_deployers() -> list:
    from harness_ssh.deployer import SshDeployer

    return [SshDeployer]
