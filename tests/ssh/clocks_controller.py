"""Hosts make blocks, by turns and each by its own clock; judged with the offsets of their clocks and without.

    python clocks_controller.py '{"HOST": VARIABLES, …}'

Run where the hosts can be reached; tells what came out, as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from types import SimpleNamespace as Some
from typing import Any

import anyio

from harness.api import (
    Access,
    BlockHeader,
    BlockSeen,
    HostSpec,
    Judgement,
    Machine,
    MachineCapability,
    Timing,
)
from harness.clock import SystemClock
from harness_checks.block_timing import BlockTiming, BlockTimingConfig
from harness_ssh.deployer import SshConfig, SshDeployer

INTERVAL, BLOCKS, LONGEST = 0.25, 40, "4 blocks"
STAMP = ("-I", "-S", "-c", "import time; print(time.time())")


def context(machines: Mapping[str, Machine], commands: frozenset[MachineCapability], clock: SystemClock) -> Any:
    """As much of a run as the expectation looks at. Without `commands` nobody is asked for the time."""
    nodes = {
        name: Some(name=name, spec=name, machine=machine, capabilities=commands) for name, machine in machines.items()
    }
    now = clock.now()
    return Some(
        nodes=nodes,
        clock=clock,
        block_interval=INTERVAL,
        chain=Some(timing=Timing(INTERVAL, 3)),
        network=Some(timing=None, power=lambda spec: 1),
        note=lambda text: None,
        faults=Some(history=()),
        window=Some(start=now - 60, end=now + 60),
        feed=Some(nodes={}, held_up=()),
    )


async def main(hosts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    clock, judged = SystemClock(), dict[str, tuple[BlockTiming, Any]]()
    specs = [HostSpec(name, variables) for name, variables in hosts.items()]
    async with SshDeployer(SshConfig()).connect(specs, Access()) as machines:
        for how, can in (("corrected", {MachineCapability.COMMANDS}), ("as they are", set[MachineCapability]())):
            check = BlockTiming(BlockTimingConfig.model_validate({"max": LONGEST}))
            judged[how] = check, context(machines, frozenset(can), clock)
            await check.capture(judged[how][1])
        for height in range(BLOCKS):
            due = clock.now() + INTERVAL
            name = list(machines)[height % len(machines)]
            done = await machines[name].run((machines[name].python, *STAMP))
            header = BlockHeader(height, str(height), str(height - 1), float(done.stdout), name)
            seen = BlockSeen(name, header, clock.now(), clock.wall())
            for check, ctx in judged.values():
                check.observe_block(ctx, seen)
            await clock.sleep_until(due)
        told = {}
        for how, (check, ctx) in judged.items():
            ctx.feed.nodes["all"] = Some(height=BLOCKS - 1, hash=str(BLOCKS - 1))
            told[how] = _told(await check.evaluate(ctx))
    return told


def _told(judgement: Judgement) -> dict[str, Any]:
    return {"verdict": str(judgement.verdict), "measured": judgement.measured, "evidence": dict(judgement.evidence)}


if __name__ == "__main__":
    print(json.dumps(anyio.run(main, json.loads(sys.argv[1]))))
