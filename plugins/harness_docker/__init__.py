"""The deployer `docker`: one container a node, on a Docker engine whose published ports are reached on 127.0.0.1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.api import hookimpl

if TYPE_CHECKING:
    from harness.api import Deployer


@hookimpl
def harness_deployers() -> list[type[Deployer[Any]]]:
    from harness_docker.deployer import DockerDeployer

    return [DockerDeployer]
