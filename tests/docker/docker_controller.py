"""A controller to be killed: deploys nodes, then goes on with commands and files.

    python docker_controller.py RUN_DIR RUN_ID

It says "begin", "deployed", "up" when all nodes are, and "cut" when two of them are parted."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio

from harness.api import CUT, DeployRequest, Flow, HostSpec, NodeSpec, PlannedNode, ServiceSpec
from harness.testing.fakes import FakeChain, FakeChainConfig
from harness_docker.deployer import DockerConfig, DockerDeployer


async def main(run_dir: Path, run_id: str) -> None:
    host = HostSpec("docker", {})
    nodes = tuple(
        PlannedNode(NodeSpec(f"v-{number}", "v", number, number), host, ("p2p", "api"), "p2p") for number in range(3)
    )
    print("begin", flush=True)
    deployer = DockerDeployer(DockerConfig(image="debian:bookworm-slim", pull="never"))
    async with deployer.deploy(DeployRequest(run_id, run_dir, nodes, (), FakeChain(FakeChainConfig()))) as deployment:
        print("deployed", flush=True)
        places = deployment.placements.values()
        async with anyio.create_task_group() as tasks:
            for place in places:
                argv = ("sh", "-c", "setsid sleep 1000 & sleep 1000")
                log = run_dir / f"{place.node.name}.log"
                tasks.start_soon(place.machine.spawn, ServiceSpec(place.node.name, argv, place.directory, log))
        print("up", flush=True)
        await deployment.shape_links({Flow("v-0", "v-1"): CUT})
        print("cut", flush=True)
        place = next(iter(places))
        while True:
            await place.machine.run(["sleep", "0.05"])
            await place.machine.put(b"x" * 100_000, place.directory / "file")


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), sys.argv[2])
