"""The deployer `process`: nodes as supervised processes of this machine. No root, no Docker."""

from __future__ import annotations

from harness.api import hookimpl
from harness_process.deployer import ProcessDeployer


@hookimpl
def harness_deployers() -> list[type[ProcessDeployer]]:
    return [ProcessDeployer]
