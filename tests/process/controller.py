"""A controller to be killed: deploys nodes that bind their ports and have a daemon each, and goes on spawning.

    python controller.py RUN_DIR MARKER

It prints one JSON line: the ports of the nodes; then "up" when all nodes are; before these, "begin"."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import anyio

from harness.api import DeployRequest, HostSpec, Link, NodeSpec, PlannedNode, ServiceSpec
from harness.testing.fakes import FakeChain, FakeChainConfig
from harness_process.deployer import ProcessConfig, ProcessDeployer

NODE = """
import os, socket, sys, time
sockets = [socket.create_server(("127.0.0.1", int(port))) for port in sys.argv[2:]]
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(1000)  # a daemon, with the sockets
    os._exit(0)
os.wait()
print("up", flush=True)
time.sleep(1000)
"""


async def main(run_dir: Path, marker: str) -> None:
    host = HostSpec("localhost", {})
    names = [f"v-{number}" for number in range(4)]
    nodes = tuple(
        PlannedNode(NodeSpec(name, "v", number, number), host, ("p2p", "api"), "p2p")
        for number, name in enumerate(names)
    )
    links = tuple(Link(name, names[0]) for name in names[1:])
    print("begin", flush=True)
    async with ProcessDeployer(ProcessConfig(relay="on")).deploy(
        DeployRequest("r", run_dir, nodes, links, FakeChain(FakeChainConfig()))
    ) as deployment:
        places = deployment.placements.values()
        ports = [port for place in places for port in place.ports.values()]
        print(json.dumps(ports + [deployment.link_address(link).port for link in links]), flush=True)
        for place in places:
            argv = (sys.executable, "-I", "-S", "-c", NODE, marker, *map(str, place.ports.values()))
            log = run_dir / f"{place.node.name}.log"
            await place.machine.spawn(ServiceSpec(place.node.name, argv, place.directory, log))
        while not all("up" in (run_dir / f"{name}.log").read_text() for name in names):
            await anyio.sleep(0.01)
        print("up", flush=True)
        machine = next(iter(places)).machine
        while True:  # be in the middle of a spawn, or of a command, most of the time
            await machine.run(["sleep", "0.01", "--", "0"])


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), sys.argv[2])
