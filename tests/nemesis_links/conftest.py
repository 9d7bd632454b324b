"""Runs of real nodes on this machine in which a workload does one thing to links, and looks by other means."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.plugin.registry import Registry
from harness.testing import Finished, run_playbook

PLAYBOOK = """
name = "links"
duration = "{duration}"
seed = 5
budget = "unlimited"
settle = "1s"
chain = {{ use = "devnet", slot_duration = "100ms", active_slot_coeff = 0.5, security_param = 400 }}
[topology]
layout = "{layout}"
validators = 4
executors = {executors}
[[workloads]]
use = "once"
fault = "{fault}"
options = '{options}'
targets = {targets}
script = "{script}"
[[expectations]]
use = "consensus-liveness"
max_stall = "100 blocks"
"""

ONCE = '''
import json
import anyio
from harness.api import Config, MachineCapability, Workload, hookimpl
from harness_nemesis.block_peer import BlockPeer
from harness_nemesis.latency import Latency
from harness_nemesis.bandwidth import Bandwidth
from harness_nemesis.partition import Partition

FAULTS = {fault.name: fault for fault in (BlockPeer, Latency, Bandwidth, Partition)}
PATIENCE = 30.0

class OnceConfig(Config):
    fault: str
    options: str = "{}"
    targets: list[str] = []
    script: str = ""

class Once(Workload[OnceConfig]):
    """One fault, once, and what the nodes themselves say meanwhile."""
    name = "once"
    Config = OnceConfig

    def requires_machine(self):
        return self.fault().requires_machine() | {MachineCapability.NODE_CONTROL}

    def fault(self):
        cls = FAULTS[self.config.fault]
        return cls(cls.Config.model_validate(json.loads(self.config.options)))

    async def run(self, ctx):
        nodes = [ctx.nodes[name] for name in self.config.targets or list(ctx.nodes)]
        last = ctx.nodes["validator-3"]
        async with ctx.faults.apply(self.fault(), nodes, by=ctx.component):
            if self.config.script == "parted":
                await self.agree(ctx, False)
                ctx.note("they are apart")
            if self.config.script == "restarted":
                await last.kill()
                await last.start()
                await last.wait_ready(PATIENCE)
            if self.config.script == "died":
                await last.kill()
        if self.config.script == "parted":
            await self.agree(ctx, True)
            ctx.note("they are together")

    async def agree(self, ctx, wanted):
        """Wait until the first and the last node have the same block ten blocks from now, or have not."""
        ends = [ctx.nodes["validator-0"].client(), ctx.nodes["validator-3"].client()]
        with anyio.fail_after(PATIENCE):
            height = 6 + max([(await end.head()).height for end in ends])
            while True:
                if min([(await end.head()).height for end in ends]) >= height:
                    if (len({await self.at(end, height) for end in ends}) == 1) == wanted:
                        return
                    height += 1
                await anyio.sleep(0.05)

    async def at(self, client, height):
        head = await client.head()
        hash, at = head.hash, head.height
        while at > height:
            block = await client.block(hash, at)
            hash, at = block.header.parent, block.header.height - 1
        return hash

@hookimpl
def harness_workloads():
    return [Once]
'''


class Stage:
    """Runs of one fault; `stages` and `seen` are those of the last run's only fault."""

    def __init__(self, folder: Path) -> None:
        self._runs = folder / "runs"
        self._plugins = folder / "plugins"
        self._plugins.mkdir()
        (self._plugins / "once.py").write_text(ONCE)
        self.stages: list[str] = []
        self.seen: dict[str, Mapping[str, Any]] = {}
        self.notes: list[str] = []

    async def run(
        self,
        fault: str,
        *targets: str,
        script: str = "",
        layout: str = "full",
        duration: str = "1s",
        executors: int = 0,
        **options: Any,
    ) -> Finished:
        playbook = PLAYBOOK.format(
            fault=fault,
            options=json.dumps({"patience": "1s", **options}),
            targets=json.dumps(targets),
            script=script,
            layout=layout,
            duration=duration,
            executors=executors,
        )
        registry = Registry(project_plugins=self._plugins)
        finished = await run_playbook(playbook, self._runs, registry, deployer="process")
        for line in finished.directory.journal.read_text().splitlines():
            event = json.loads(line)
            if event["kind"] == "fault-staged":
                self.stages.append(event["stage"])
                self.seen[event["stage"]] = event.get("seen", {})
            if event["kind"] == "note":
                self.notes.append(event["message"])
        return finished


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)
