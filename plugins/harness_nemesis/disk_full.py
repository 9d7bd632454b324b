"""The fault `disk-full`: no room is left where a node keeps its files."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from harness.api import (
    Config,
    Fault,
    FaultContext,
    FaultError,
    InfrastructureError,
    MachineCapability,
    Node,
    Proof,
    Size,
)
from harness_nemesis.scripts import ask
from harness_nemesis.together import each

SCRIPT = "disk_script"
PROBE = 256 * 1024
"""Bytes beyond `leave` that are tried to be written."""
WITHIN = 300.0
"""Seconds that filling may take."""


class DiskFullConfig(Config):
    """`leave`: bytes that stay free. `largest`: a file system that has more is not filled."""

    leave: Size = 0
    largest: Size = 2**30


class DiskFull(Fault[DiskFullConfig]):
    """A file fills the file system of each target's folder. Healed by removing it.

    Only where that is a file system of the node's own, as the deployers' option `disk` gives it, no larger than
    `largest`: where it shares one, with the machine, with other nodes, with the run's own records, it is refused.
    Proven by a write there that fails for want of room;
    healed when the file is gone and a write works. A node that has died of it is not started again."""

    name = "disk-full"
    Config = DiskFullConfig

    def __init__(self, config: DiskFullConfig) -> None:
        super().__init__(config)
        self._file = f".harness-{uuid.uuid4().hex}"

    def requires_machine(self) -> frozenset[MachineCapability]:
        return frozenset({MachineCapability.COMMANDS, MachineCapability.OWN_DISK})

    async def inject(self, ctx: FaultContext) -> None:
        async def one(node: Node) -> None:
            request = ("fill", str(_folder(node)), self._file, self.config.leave, self.config.largest)
            await ask(node, SCRIPT, *request, timeout=WITHIN)

        await each(ctx.targets, one)

    async def prove(self, ctx: FaultContext) -> Proof:
        return await self._seen(ctx, lambda one: one["file"] is not None and one["write"] == "ENOSPC")

    async def heal(self, ctx: FaultContext) -> None:
        # Files can be removed also where a container has ended with its node.
        await each(ctx.targets, lambda node: node.machine.remove(_folder(node) / self._file))

    async def prove_healed(self, ctx: FaultContext) -> Proof:
        return await self._seen(ctx, lambda one: one["file"] is None and one["write"] == "")

    async def _seen(self, ctx: FaultContext, wanted: Callable[[dict[str, Any]], bool]) -> Proof:
        seen: dict[str, Any] = {}
        try:
            await each(ctx.targets, partial(self._look, seen))
        except InfrastructureError as error:
            return Proof(None, {**seen, "error": str(error)})
        return Proof(all(map(wanted, seen.values())), seen)

    async def _look(self, seen: dict[str, Any], node: Node) -> None:
        seen[node.name] = await ask(node, SCRIPT, "look", str(_folder(node)), self._file, self.config.leave + PROBE)


def _folder(node: Node) -> PurePosixPath:
    if node.directory is None:
        raise FaultError(f"{node.name} is somebody else's: its folder is not known")
    return node.directory
