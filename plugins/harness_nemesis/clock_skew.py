"""The fault `clock-skew`: a node's clock is wrong, the machine's is not touched."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from pydantic import Field, field_validator, model_validator

from harness.api import (
    Config,
    Duration,
    Fault,
    FaultContext,
    FaultError,
    InfrastructureError,
    Launch,
    MachineCapability,
    Node,
    Proof,
)
from harness_nemesis.scripts import ask, source
from harness_nemesis.together import each
from harness_nemesis.upgrade import run_as

SCRIPT = "clock_script"
WITHOUT = {"LD_PRELOAD": ""}
"""Whatever commands in a node's container have of its environment."""
CLOSE = 2.0
"""Seconds by which a clock may be off what was asked for: reading two takes a moment."""


class ClockSkewConfig(Config):
    """The clock goes `ahead`, or `behind`, by so much: one of them. `library`: where libfaketimeMT is on the machine,
    where its package has not put it: an absolute path, without white space and colons, which would end it.
    `ready_timeout`: how long a node may take, each time that it is started, until its API answers."""

    ahead: Duration = Field(0.0, ge=0)
    behind: Duration = Field(0.0, ge=0)
    library: str = ""
    ready_timeout: Duration = 30.0

    @field_validator("library")
    @classmethod
    def _can_be_preloaded(cls, library: str) -> str:
        if library and (not library.startswith("/") or re.search(r"[\s:]", library)):
            raise ValueError("write the whole path of the library, in which no white space and no colon may be")
        return library

    @model_validator(mode="after")
    def _one_way(self) -> ClockSkewConfig:
        if bool(self.ahead) == bool(self.behind):
            raise ValueError("say by how much the clock is to be wrong: ahead or behind, one of them")
        return self

    @property
    def offset(self) -> float:
        return self.ahead - self.behind


class ClockSkew(Fault[ClockSkewConfig]):
    """Starts each target again with libfaketime before the C library, so that its Unix time is wrong; monotonic time
    goes on as it is. Healed by starting it again without.

    The library has to be on the machine. Programs that read the clock without the C library (Go) or take no preloaded
    one (static) are refused: it would have no effect. Proven by the library in the memory of the node's process, and by
    the clock of another process with the node's environment; healed when the node runs without it."""

    name = "clock-skew"
    Config = ClockSkewConfig

    def __init__(self, config: ClockSkewConfig) -> None:
        super().__init__(config)
        self._name = f".harness-clock-{uuid.uuid4().hex}"
        self._before: dict[str, Launch] = {}
        self._env: dict[str, dict[str, str]] = {}

    def requires_machine(self) -> frozenset[MachineCapability]:
        always = frozenset({MachineCapability.NODE_CONTROL, MachineCapability.COMMANDS, MachineCapability.LAUNCH})
        return always if self.config.library else always | {MachineCapability.CLOCK}

    def requires_libraries(self) -> frozenset[str]:
        return frozenset({self.config.library} if self.config.library else ())

    async def inject(self, ctx: FaultContext) -> None:
        await each(ctx.targets, self._inject)

    async def _inject(self, node: Node) -> None:
        if node.name not in self._before:
            library = await ask(node, SCRIPT, "library", self.config.library)
            processes = await ask(node, SCRIPT, "look", node.launch.argv)
            if why := [why for _, _, why in processes if why]:
                raise FaultError(f"{node.name}: its clock cannot be set: {why[0]}")
            if not processes:
                raise FaultError(f"{node.name}: no process of its machine has its arguments")
            file = self._file(node)
            await node.machine.put(f"{self.config.offset:+f}\n".encode(), file)
            self._env[node.name] = {
                "LD_PRELOAD": " ".join(filter(None, (library, node.launch.env.get("LD_PRELOAD", "")))),
                "FAKETIME_TIMESTAMP_FILE": str(file),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "DONT_FAKE_MONOTONIC": "1",  # as it was called before 0.9.9
            }
            self._before[node.name] = node.launch
        before = self._before[node.name]
        await run_as(node, replace(before, env={**before.env, **self._env[node.name]}))
        await node.wait_ready(self.config.ready_timeout)

    async def prove(self, ctx: FaultContext) -> Proof:
        seen: dict[str, Any] = {}

        async def one(node: Node) -> None:
            env = self._env.get(node.name, {})
            offset = await self._told(node, env) - await self._told(node, WITHOUT)
            seen[node.name] = {"processes": await ask(node, SCRIPT, "look", node.launch.argv), "offset": offset}

        return await self._seen(ctx, seen, one, skewed=True)

    async def heal(self, ctx: FaultContext) -> None:
        async def one(node: Node) -> None:
            if node.name in self._before:
                await run_as(node, self._before[node.name])
                await node.machine.remove(self._file(node))

        await each(ctx.targets, one)

    async def prove_healed(self, ctx: FaultContext) -> Proof:
        seen: dict[str, Any] = {}

        async def one(node: Node) -> None:
            await node.wait_ready(self.config.ready_timeout)
            seen[node.name] = {"processes": await ask(node, SCRIPT, "look", node.launch.argv), "offset": 0.0}

        return await self._seen(ctx, seen, one, skewed=False)

    async def _seen(self, ctx: FaultContext, seen: dict[str, Any], look: Any, *, skewed: bool) -> Proof:
        try:
            await each(ctx.targets, look)
        except InfrastructureError as error:
            gone = [node.name for node in ctx.targets if await node.process_state() == "gone"]
            return Proof(False if gone else None, {**seen, "gone": gone, "error": str(error)})
        wanted = self.config.offset if skewed else 0.0
        close = all(abs(one["offset"] - wanted) < CLOSE for one in seen.values())
        inside = [has for one in seen.values() for _, has, _ in one["processes"]]
        there = all(one["processes"] for one in seen.values())
        if not close or not there or (not skewed) in inside:
            return Proof(False, seen)
        return Proof(None if None in inside else True, seen)

    async def _told(self, node: Node, env: dict[str, str]) -> float:
        """The time by the clock of another process, with this environment."""
        argv = (node.machine.python, "-I", "-S", "-c", source(SCRIPT), json.dumps(["time"]))
        done = await node.machine.run(argv, env=env)
        try:
            return float(done.stdout)
        except ValueError:
            raise FaultError(f"{node.name}: {done.stderr.decode(errors='replace').strip()[-200:]}") from None

    def _file(self, node: Node) -> PurePosixPath:
        if node.directory is None:
            raise FaultError(f"{node.name} is somebody else's: its folder is not known")
        return node.directory / self._name
