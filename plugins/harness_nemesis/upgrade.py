"""The fault `upgrade`: a node is started again as something else, another version or with other arguments."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import model_validator

from harness.api import (
    Artifact,
    Config,
    Duration,
    Fault,
    FaultContext,
    FaultError,
    InfrastructureError,
    Launch,
    LocalPath,
    MachineCapability,
    Node,
    Proof,
)
from harness_nemesis.scripts import ask
from harness_nemesis.together import each

SCRIPT = "launch_script"


class UpgradeConfig(Config):
    """`arguments` are added to the node's command line, `env` to its environment. `artifact`: a file of the controller,
    sent to the node's machine; it stands for the first word of the command line, or for the word `in_place_of` (the
    last part of its path is enough). With `keep` the node stays as it has become. `ready_timeout`: how long it may
    take, each time it is started, until its API answers."""

    arguments: tuple[str, ...] = ()
    env: Mapping[str, str] = {}
    artifact: LocalPath | None = None
    in_place_of: str = ""
    keep: bool = False
    ready_timeout: Duration = 30.0

    @model_validator(mode="after")
    def _something(self) -> UpgradeConfig:
        if not (self.arguments or self.env or self.artifact):
            raise ValueError("nothing is to be other than before: give arguments, env or an artifact")
        if self.in_place_of and self.artifact is None:
            raise ValueError("in_place_of says where an artifact stands: give one")
        return self


class Upgrade(Fault[UpgradeConfig]):
    """Stops each target and starts it again with other arguments, another environment, or another program; healed by
    the same way back, or, with `keep`, not undone.

    Proven by the arguments and the environment of the machine's processes, as its kernel has them, and by an answer of
    the node's API; healed when the node runs as before, with `keep` when it runs as it was asked to. Who does not
    answer after the upgrade makes it a fault that was not applied."""

    name = "upgrade"
    Config = UpgradeConfig

    def __init__(self, config: UpgradeConfig) -> None:
        super().__init__(config)
        self._before: dict[str, Launch] = {}
        self._after: dict[str, Launch] = {}

    def requires_machine(self) -> frozenset[MachineCapability]:
        return frozenset({MachineCapability.NODE_CONTROL, MachineCapability.COMMANDS, MachineCapability.LAUNCH})

    async def inject(self, ctx: FaultContext) -> None:
        async def one(node: Node) -> None:
            if node.name not in self._after:
                self._before[node.name] = node.launch
                self._after[node.name] = await self._changed(ctx, node)
            await run_as(node, self._after[node.name])
            await node.wait_ready(self.config.ready_timeout)

        await each(ctx.targets, one)

    async def _changed(self, ctx: FaultContext, node: Node) -> Launch:
        c, argv = self.config, list(node.launch.argv)
        if c.artifact is not None:
            wanted = c.in_place_of or argv[0]
            place = next((i for i, word in enumerate(argv) if wanted in (word, word.rpartition("/")[2])), None)
            if place is None:
                raise FaultError(f"{node.name}: no word of its command line is {wanted}: {' '.join(argv)}")
            executable = os.access(c.artifact, os.X_OK)
            argv[place] = str(await ctx.provide(node, Artifact(c.artifact.name, c.artifact, executable)))
        return replace(node.launch, argv=(*argv, *c.arguments), env={**node.launch.env, **c.env})

    async def prove(self, ctx: FaultContext) -> Proof:
        return await self._seen(ctx, self._after)

    async def heal(self, ctx: FaultContext) -> None:
        async def one(node: Node) -> None:
            if self.config.keep:
                await node.start()
            elif node.name in self._before:
                await run_as(node, self._before[node.name])

        await each(ctx.targets, one)

    async def prove_healed(self, ctx: FaultContext) -> Proof:
        await each(ctx.targets, lambda node: node.wait_ready(self.config.ready_timeout))
        return await self._seen(ctx, self._after if self.config.keep else self._before)

    async def _seen(self, ctx: FaultContext, launches: Mapping[str, Launch]) -> Proof:
        """Whether each node runs by its launch: its arguments, and of its environment what the upgrade is about."""
        wanted = launches is self._after
        seen: dict[str, Any] = {}

        async def one(node: Node) -> None:
            argv = launches.get(node.name, node.launch).argv
            found = await ask(node, SCRIPT, argv, self.config.env)
            told = [[pid, None if has is None else has is wanted] for pid, has in found] if self.config.env else found
            seen[node.name] = {"argv": list(argv), "processes": told}

        try:
            await each(ctx.targets, one)
        except InfrastructureError as error:
            # In a container that has ended, nothing can be asked, and nothing runs.
            gone = [node.name for node in ctx.targets if await node.process_state() == "gone"]
            return Proof(False if gone else None, {**seen, "gone": gone, "error": str(error)})
        matches = [[match for _, match in one["processes"]] for one in seen.values()]
        if all(any(match for match in node) for node in matches):
            return Proof(True, seen)
        return Proof(None if all(None in node or True in node for node in matches) else False, seen)


async def run_as(node: Node, launch: Launch) -> None:
    """Have it run by this launch, started again where it runs by another."""
    if node.launch != launch:
        if node.pid is not None:
            await node.stop()
        await node.start(launch)
    else:
        await node.start()
