"""The fault `cpu-stress`: processes that do nothing but work, on the node's machine."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from pydantic import Field

from harness.api import (
    Clock,
    Config,
    Fault,
    FaultContext,
    FaultError,
    HarnessError,
    InfrastructureError,
    MachineCapability,
    Node,
    Proof,
    file_name,
)
from harness_nemesis.scripts import ask
from harness_nemesis.together import each

SCRIPT = "stress_script"
LONGEST = 86400.0
"""Seconds after which a machine ends the processes at any rate."""
WITHIN, AGAIN = 10.0, 0.1
"""Seconds that the processes may take to be there, or to be gone; and between two looks."""

ONCE_MORE = 0.5
"""Seconds after which they are started again when they have ended too early."""


class CpuStressConfig(Config):
    """`workers`: how many busy processes, for each target. In a container, and in its systemd unit where we may become
    root, they have the node's own limits; else they are beside it, and disturb whatever else runs there."""

    workers: int = Field(2, ge=1, le=256)


class CpuStress(Fault[CpuStressConfig]):
    """Busy processes take CPU time from each target, for as long as the command lasts that they are: it ends when
    healed, and with the run.

    Proven by the CPU time that they use, as the kernel counts it; healed when the machine has none of them any more. It
    takes nobody out of consensus: the fault budget does not count it."""

    name = "cpu-stress"
    Config = CpuStressConfig

    def __init__(self, config: CpuStressConfig) -> None:
        super().__init__(config)
        self._token = uuid.uuid4().hex
        self._working: dict[str, asyncio.Task[None]] = {}  # by node
        self._errors: dict[str, str] = {}

    def requires_machine(self) -> frozenset[MachineCapability]:
        return frozenset({MachineCapability.COMMANDS})

    def downs(self, targets: Sequence[str], powers: Mapping[str, int]) -> frozenset[str]:
        return frozenset()

    async def inject(self, ctx: FaultContext) -> None:
        if gone := await self._gone(ctx):
            raise FaultError(f"{', '.join(gone)} does not run: there is nothing to take CPU time from")
        for node in ctx.targets:
            if node.name not in self._working or self._working[node.name].done():
                self._working[node.name] = asyncio.create_task(self._work(node, ctx.clock))

    def _token_of(self, node: Node) -> str:
        """By which its processes are known: several nodes may share a machine."""
        return f"{self._token}-{file_name(node.name)}"

    async def _work(self, node: Node, clock: Clock) -> None:
        """Until it is cancelled. A container ends them with its node, which another fault may have started again."""
        while True:
            try:
                pid = await self._to_join(node)
                request = ("work", self._token_of(node), self.config.workers, pid)
                await ask(node, SCRIPT, *request, timeout=LONGEST, become=pid != 0)
            except HarnessError as error:  # the proof says whether it matters
                self._errors[node.name] = str(error)
            await clock.sleep(ONCE_MORE)

    async def _to_join(self, node: Node) -> int:
        """The node's process, where that is in a control group that root can have others enter; else 0."""
        if node.pid is None or not await ask(node, SCRIPT, "apart", node.pid):
            return 0
        try:
            done = await node.machine.run(("true",), become=True)
        except InfrastructureError:
            return 0
        return node.pid if done.returncode == 0 else 0

    async def prove(self, ctx: FaultContext) -> Proof:
        """Whether all of them are there and, together, get some time of the CPU within a second. Where a node has ended
        since, by itself or by another fault, it cannot be told."""
        wanted = self.config.workers
        proof = await self._seen(ctx, lambda one: one["running"] == wanted and one["cpu_seconds_in_one"] > 0.0)
        if gone := await self._gone(ctx):
            return Proof(None, {**proof.seen, "ended": gone})
        return proof

    async def heal(self, ctx: FaultContext) -> None:
        for task in self._working.values():
            task.cancel()
        await asyncio.gather(*self._working.values(), return_exceptions=True)

        async def one(node: Node) -> None:
            try:
                await ask(node, SCRIPT, "stop", self._token_of(node))
            except InfrastructureError:
                # A container ends with its node, and all that is in it.
                if await node.process_state() != "gone":
                    raise

        await each(ctx.targets, one)

    async def prove_healed(self, ctx: FaultContext) -> Proof:
        return await self._seen(ctx, lambda one: not one["running"])

    async def _gone(self, ctx: FaultContext) -> list[str]:
        return [node.name for node in ctx.targets if await node.process_state() == "gone"]

    async def _seen(self, ctx: FaultContext, wanted: Callable[[Mapping[str, Any]], bool]) -> Proof:
        give_up = ctx.clock.now() + WITHIN
        while True:
            seen: dict[str, Any] = {}
            try:
                await each(ctx.targets, partial(self._look, seen))
            except InfrastructureError as error:
                return Proof(None, {**seen, "error": str(error)})
            if (holds := all(map(wanted, seen.values()))) or ctx.clock.now() >= give_up:
                return Proof(holds, seen)
            await ctx.clock.sleep(AGAIN)

    async def _look(self, seen: dict[str, Any], node: Node) -> None:
        workers = await ask(node, SCRIPT, "look", self._token_of(node), node.pid or 0)
        seen[node.name] = {
            "workers": [[pid, start] for pid, start, *_ in workers],
            "running": len(workers),
            "cpu_seconds_in_one": round(sum(after - before for _, _, before, after, _ in workers), 3),
            "in_its_control_group": all(inside for *_, inside in workers),
        }
        if node.name in self._errors:
            seen[node.name]["error"] = self._errors[node.name]
