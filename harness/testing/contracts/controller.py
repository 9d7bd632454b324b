"""A controller to be killed: deploys nodes, then runs commands on one of them for ever.

    command("harness.testing.contracts.controller", FILE)

FILE holds what `describe` gives. It prints a line when it has come to each of MOMENTS."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anyio

from harness.plugin.contract.chain import Chain
from harness.plugin.contract.deployer import Deployer, HostSpec
from harness.record.owner import Owner
from harness.record.rundir import RunDirectory, write_atomically
from harness.testing.contracts.bench import READY_WITHIN, Bench
from harness.testing.contracts.elsewhere import described, remade

MOMENTS = ("began", "deployed", "started", "busy")
"""began: there is a run's folder. deployed: there are machines. started: there are nodes, perhaps not ready yet. busy:
they are, and commands run."""
NODES = 3


def describe(bench: Bench, run: RunDirectory, **more: Any) -> str:
    """What another process needs to deploy the same, and `more`, as JSON."""
    return json.dumps(
        {
            "deployer": described(bench.deployer),
            "chain": described(bench.chain),
            "hosts": {host.name: dict(host.vars) for host in bench.hosts},
            "run": str(run.path),
            **more,
        }
    )


def main(file: str) -> None:
    anyio.run(_control, json.loads(Path(file).read_text()))


def take_over(what: Mapping[str, Any]) -> tuple[Bench, RunDirectory]:
    """The bench that was described, and the run of which this process is the controller from now on."""
    deployer: Deployer[Any] = remade(what["deployer"])
    chain: Chain[Any] = remade(what["chain"])
    run = RunDirectory(Path(what["run"]))
    bench = Bench(deployer, [HostSpec(name, variables) for name, variables in what["hosts"].items()], chain, run.path)
    write_atomically(run.controller, json.dumps(asdict(Owner.current())))
    return bench, run


async def _control(what: Mapping[str, Any]) -> None:
    bench, run = take_over(what)
    request = bench.request(NODES, run=run)
    tell("began")
    async with bench.deploy(request) as deployment, anyio.create_task_group() as tasks:
        tell("deployed")
        net = await bench.start(request, deployment, tasks)
        tell("started")
        for node in net.nodes.values():
            await node.wait_ready(READY_WITHIN)
            await net.ask(node.name, "child", request.run_id)
        tell("busy")
        while True:
            await net.machine.run(("sleep", "0.05"))
            await net.machine.put(b"x" * 100_000, net.folder / "file")


def tell(moment: str) -> None:
    """That it has come to this moment."""
    sys.stdout.write(f"{moment}\n")
    sys.stdout.flush()
