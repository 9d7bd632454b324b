"""The three steps of fanout.py by machines of the deployer `ssh`: a process of its own, as its competitors are.

python benchmarks/fanout_machines.py ASKED.json"""

from __future__ import annotations

import json
import sys
from pathlib import PurePosixPath

import anyio

from harness.api import Access, HostSpec, Machine
from harness_ssh.deployer import SshConfig, SshDeployer


async def steps(machine: Machine, payload: bytes, target: PurePosixPath, script: str) -> None:
    await run(machine, ["mkdir", "-p", str(target)])
    await machine.put(payload, target / "payload")
    await run(machine, ["sh", "-c", script])


async def run(machine: Machine, argv: list[str]) -> None:
    done = await machine.run(argv)
    if done.returncode != 0:
        raise RuntimeError(f"{machine.name}: {done}")


async def main() -> None:
    hosts, payload, target, script = json.loads(await anyio.Path(sys.argv[1]).read_text())
    specs = [HostSpec(name, variables) for name, variables in hosts.items()]
    content = await anyio.Path(payload).read_bytes()
    async with (
        SshDeployer(SshConfig.model_validate({})).connect(specs, Access(forks=len(specs))) as machines,
        anyio.create_task_group() as tasks,
    ):
        for machine in machines.values():
            tasks.start_soon(steps, machine, content, PurePosixPath(target), script)


if __name__ == "__main__":
    anyio.run(main)
