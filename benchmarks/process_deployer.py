"""What the deployer `process` costs: spawning, ending, the supervisor's memory, the relay's throughput.

    python benchmarks/process_deployer.py

The nodes do nothing (`sleep`), so that the figures are the deployer's own."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import anyio
import anyio.abc

from harness.api import DeployRequest, HostSpec, Link, NodeSpec, Placement, PlannedNode, Service, ServiceSpec
from harness.testing.fakes import FakeChain, FakeChainConfig
from harness_agent.remote.leftovers import find
from harness_process.deployer import ProcessConfig, ProcessDeployer
from harness_process.supervision import RECORD

NODES, MANY = 5, 200
LINK = Link("n1", "n0")
TRANSFER = 512 * 1024 * 1024


async def spawn(place: Placement, count: int, run_dir: Path) -> Sequence[Service]:
    """So many processes, all asked for at once."""
    services: list[Service] = []

    async def one(number: int) -> None:
        spec = ServiceSpec(f"s{number}", ("sleep", "1000"), place.directory, run_dir / "log")
        services.append(await place.machine.spawn(spec))

    async with anyio.create_task_group() as tasks:
        for number in range(count):
            tasks.start_soon(one, number)
    return services


async def transfer(source: anyio.abc.SocketStream, target: anyio.abc.SocketStream) -> float:
    """Seconds that TRANSFER bytes take from one socket to the other."""
    block = bytes(1024 * 1024)

    async def send() -> None:
        for _ in range(TRANSFER // len(block)):
            await source.send(block)

    began = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        received = 0
        while received < TRANSFER:
            received += len(await target.receive(1024 * 1024))
    return time.perf_counter() - began


def request(run_dir: Path) -> DeployRequest:
    host = HostSpec("localhost", {})
    nodes = (PlannedNode(NodeSpec(f"n{i}", "validator", i, i), host, ("p2p", "api"), "p2p") for i in range(NODES))
    return DeployRequest("benchmark", run_dir, tuple(nodes), (LINK,), FakeChain(FakeChainConfig()))


async def measure(run_dir: Path) -> None:
    began = time.perf_counter()
    async with ProcessDeployer(ProcessConfig(relay="on")).deploy(request(run_dir)) as deployment:
        show("deployment ready, relay included", time.perf_counter() - began)
        place = deployment.placements["n0"]
        for count in (NODES, MANY):
            began = time.perf_counter()
            services = await spawn(place, count, run_dir)
            show(f"{count} processes spawned", time.perf_counter() - began)
        began = time.perf_counter()
        for service in services:
            await service.signal(signal.SIGTERM)
        for service in services:
            await service.wait()
        show(f"{MANY} processes ended by SIGTERM", time.perf_counter() - began)
        (supervisor,) = [held for held in find(run_dir / RECORD) if held.name == "the agent"]
        status = await anyio.Path(f"/proc/{supervisor.pid}/status").read_text()
        print(f"{'memory of the supervisor':40} {int(status.split('VmRSS:')[1].split()[0]) / 1024:9.1f} MB")
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=place.ports["p2p"])
        address = deployment.link_address(LINK)
        near = await anyio.connect_tcp(address.host, address.port)
        far = await listener.listeners[0].accept()
        rate = TRANSFER / await transfer(near, far) / 2**20
        print(f"{'throughput of a relayed connection':40} {rate:9.0f} MiB/s")
        for closing in (near, far, listener):
            await closing.aclose()
        began = time.perf_counter()
    show(f"teardown of {NODES} processes and the relay", time.perf_counter() - began)


async def hold(run_dir: Path) -> None:
    """As a controller that is going to be killed."""
    async with ProcessDeployer(ProcessConfig(relay="on")).deploy(request(run_dir)) as deployment:
        await spawn(deployment.placements["n0"], NODES, run_dir)
        os.kill(os.getpid(), signal.SIGKILL)


async def measure_death(run_dir: Path) -> None:
    await anyio.run_process([sys.executable, __file__, str(run_dir)], check=False)
    began = time.perf_counter()
    while find(run_dir / RECORD):
        pass
    show(f"{NODES} processes gone after kill -9", time.perf_counter() - began)


def show(what: str, seconds: float) -> None:
    print(f"{what:40} {seconds * 1000:9.1f} ms")


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        await measure(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        await measure_death(Path(folder))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        anyio.run(hold, Path(sys.argv[1]))
    else:
        anyio.run(main)
