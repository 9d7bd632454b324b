"""A controller to be killed: holds a machine over SSH, with two nodes that have a daemon each.

    python controller.py RUN_DIR STATE LEASE VARIABLES

It prints "begin", "held", and when its nodes run a JSON line: the pids of all processes on the machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import anyio

from harness.api import DeployRequest, HostSpec, NodeSpec, PlannedNode, ServiceSpec
from harness.testing.fakes import FakeChain, FakeChainConfig
from harness_ssh.deployer import SshConfig, SshDeployer

NODE = """
import os, time
print(os.getpid(), flush=True)
if os.fork() == 0:
    os.setsid()
    print(os.getpid(), flush=True)
    time.sleep(1000)
time.sleep(1000)
"""


async def main(run_dir: Path, state: str, lease: float, variables: dict[str, object]) -> None:
    host = HostSpec("node01", variables)
    nodes = tuple(
        PlannedNode(NodeSpec(name, "v", number, number), host, ("p2p", "api"), "p2p")
        for number, name in enumerate(("a", "b"))
    )
    deployer = SshDeployer(SshConfig.model_construct(**{**SshConfig().model_dump(), "lease": lease, "state": state}))
    print("begin", flush=True)
    request = DeployRequest(run_dir.name, run_dir, nodes, (), FakeChain(FakeChainConfig()))
    async with deployer.deploy(request) as deployment:
        print("held", flush=True)
        logs = []
        for place in deployment.placements.values():
            log = run_dir / f"{place.node.name}.log"
            argv = (place.machine.python, "-I", "-S", "-c", NODE)
            await place.machine.put(b"", place.directory / "file")
            await place.machine.spawn(ServiceSpec(place.node.name, argv, place.directory, log))
            logs.append(log)
        while not all(log.exists() and log.read_text().count("\n") == 2 for log in logs):
            await anyio.sleep(0.01)
        print(json.dumps([int(line) for log in logs for line in log.read_text().split()]), flush=True)
        machine = next(iter(deployment.placements.values())).machine
        while True:
            await machine.run(["sleep", "0.01"])


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), json.loads(sys.argv[4]))
