"""File systems of their own for nodes' folders: volumes in the engine's memory, of a given size.

An engine unmounts such a volume, and what was in it is gone, when no container that has it runs. One beside the nodes
has all of them, so that nodes can be stopped and started."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

import anyio

from harness_docker.containers import Disk, Helper, create_helper, safe
from harness_docker.engine import Engine
from harness_docker.pods import IDLE


async def have(
    engine: Engine, image: str, prefix: str, labels: Mapping[str, str], wanted: Mapping[str, tuple[PurePosixPath, int]]
) -> Mapping[str, Disk]:
    """One for each node that wants so many bytes at that folder, until its container is removed with the run. Raises
    InfrastructureError."""
    there = {}
    for number, (node, (folder, size)) in enumerate(wanted.items()):
        disk = Disk(f"{prefix}-{safe(node)}.disk", folder)
        there[node] = disk, Disk(disk.volume, PurePosixPath(f"/disks/{number}"))
        await engine.ask(
            engine.client.create_volume,
            disk.volume,
            driver="local",
            driver_opts={"type": "tmpfs", "device": "tmpfs", "o": f"size={size},mode=0755,nosuid,nodev"},
            labels=dict(labels),
        )
    if there:
        plan = Helper(f"{prefix}.disks", image, IDLE, None, labels, disks=[held for _, held in there.values()])
        with anyio.CancelScope(shield=True):
            container = await engine.ask(create_helper, engine.client, plan)
            await engine.ask(engine.client.start, container)
    return {node: disk for node, (disk, _) in there.items()}
