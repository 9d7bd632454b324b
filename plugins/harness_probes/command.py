"""The expectation `command`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import anyio
from pydantic import Field, ValidationInfo, field_validator

from harness.api import (
    CommandTimeout,
    Config,
    Context,
    Duration,
    Expectation,
    InfrastructureError,
    Judgement,
    MachineCapability,
    Node,
    PlanView,
    Span,
    UsageError,
    Verdict,
    Violation,
    select_nodes,
)
from harness_probes.processes import run
from harness_probes.scanning import Pattern, matches

SAID = 2000
"""Characters of each stream that the evidence keeps: the last ones."""
SEARCHED = 1 << 16
"""Characters of the output that `stdout` is searched in: the last ones."""
SEARCH_WITHIN = 10.0
"""Seconds."""
AT_ONCE = 16
"""Machines on which it runs at the same time."""


class CommandConfig(Config):
    """Options of `command`."""

    on: Literal["controller", "nodes"] = Field("controller", description="where it runs: here, or on nodes' machines")
    argv: list[str] = Field(
        ["true"], min_length=1, description="the command; here, one with a / is relative to the playbook's folder"
    )
    nodes: str = Field("all", description="with nodes: on whose machines, a node pattern")
    timeout: Duration = Field(60.0, gt=0, description="a command that takes longer is killed, and says nothing")
    stdout: Pattern = Field("", description="a regular expression that must be found in what it prints")
    every: Span = Field(Span(5.0), description="how often to run it while the run goes on, where it is continuous")

    @field_validator("argv")
    @classmethod
    def _found(cls, argv: list[str], info: ValidationInfo) -> list[str]:
        if any("\0" in word for word in argv) or not argv[0]:
            raise ValueError("a command has a name, and no NUL in any of its words")
        if info.data.get("on") != "controller" or "/" not in argv[0]:
            return argv
        program = (info.context or {}).get("folder", Path()) / argv[0]
        if not program.exists():
            raise ValueError(f"there is no file {program}")
        return [str(program), *argv[1:]]


@dataclass(frozen=True, slots=True)
class _Said:
    """What came of the command in one place. `how` is one line; `said` the end of its output."""

    where: str
    verdict: Verdict
    how: str
    said: dict[str, str]


class Command(Expectation[CommandConfig]):
    """A command of one's own says whether all is well: exit status 0 is pass, any other is fail.

    So is the end by a signal, and output that `stdout` is not found in. One that cannot be started, or takes longer
    than `timeout`, is `unknown`. It runs without a shell, once here or once for each of the nodes on its machine; the
    worst of these decides. Nodes that were not started yet are left out.
    Its environment has HARNESS_RUN_ID and HARNESS_ENDPOINTS, JSON of where the controller reaches each node's API
    (`host:port` by node); here also HARNESS_RUN_DIR, on machines HARNESS_NODE and HARNESS_ROLE.
    While the run goes on, where it is `continuous`, it runs again and again."""

    name = "command"
    Config = CommandConfig

    def __init__(self, config: CommandConfig) -> None:
        super().__init__(config)
        self.watch_every = config.every

    def check(self, ctx: PlanView) -> Sequence[str]:
        if self.config.on == "controller":
            return []
        try:
            select_nodes(self.config.nodes, ctx.nodes)
        except UsageError as error:
            return [str(error)]
        return []

    async def watch(self, ctx: Context) -> Violation | None:
        """Whether the command fails now."""
        wrong = [one for one in await self._run(ctx) if one.verdict is Verdict.FAIL]
        return Violation(_told(wrong[0]), _evidence(wrong)) if wrong else None

    async def evaluate(self, ctx: Context) -> Judgement:
        said = await self._run(ctx)
        found = f", its output matches {self.config.stdout!r}" if self.config.stdout else ""
        asked = f"{self.config.argv[0]} ends with exit status 0{found}"
        if not said:
            return Judgement(Verdict.UNKNOWN, "no node was started", asked)
        worst = Verdict.worst(one.verdict for one in said)
        deciding = [one for one in said if one.verdict is worst]
        more = f" (and {len(deciding) - 1} more)" if len(deciding) > 1 else ""
        return Judgement(worst, _told(deciding[0]) + more, asked, _evidence(said))

    async def _run(self, ctx: Context) -> list[_Said]:
        if self.config.on == "controller":
            return [await self._here(ctx)]
        specs = select_nodes(self.config.nodes, [node.spec for node in ctx.nodes.values()])
        there = ctx.select("all")
        nodes = [ctx.nodes[spec.name] for spec in specs if ctx.nodes[spec.name] in there]
        said: dict[str, _Said] = {}
        room = anyio.CapacityLimiter(AT_ONCE)

        async def one(node: Node) -> None:
            async with room:
                said[node.name] = await self._there(ctx, node)

        async with anyio.create_task_group() as tasks:
            for node in nodes:
                tasks.start_soon(one, node)
        return [said[node.name] for node in nodes]

    async def _here(self, ctx: Context) -> _Said:
        env = {**_environment(ctx), "HARNESS_RUN_DIR": str(ctx.run_dir)}
        try:
            ran = await run(self.config.argv, timeout=self.config.timeout, env=env)
        except InfrastructureError as error:
            return _Said("controller", Verdict.UNKNOWN, str(error), {})
        return await self._judged("controller", ran.returncode, ran.stdout, ran.stderr)

    async def _there(self, ctx: Context, node: Node) -> _Said:
        if MachineCapability.COMMANDS not in node.capabilities:
            return _Said(node.name, Verdict.UNKNOWN, "no command can be run on its machine", {})
        env = {**_environment(ctx), "HARNESS_NODE": node.name, "HARNESS_ROLE": node.spec.role}
        try:
            ran = await node.machine.run(self.config.argv, env=env, timeout=self.config.timeout)
        except InfrastructureError as error:
            return _Said(node.name, Verdict.UNKNOWN, str(error), {})
        return await self._judged(node.name, ran.returncode, ran.stdout, ran.stderr)

    async def _judged(self, where: str, status: int, stdout: bytes, stderr: bytes) -> _Said:
        out, err = stdout.decode(errors="replace"), stderr.decode(errors="replace")
        said = _Said(where, Verdict.PASS, f"exit status {status}", {"stdout": out[-SAID:], "stderr": err[-SAID:]})
        if status != 0:
            how = f"killed by signal {-status}" if status < 0 else said.how
            last = (err.strip() or out.strip()).rpartition("\n")[2][:80]
            return replace(said, verdict=Verdict.FAIL, how=f"{how}: {last}" if last else how)
        if not self.config.stdout:
            return said
        try:
            found = await matches(out[-SEARCHED:], self.config.stdout, SEARCH_WITHIN)
        except CommandTimeout:
            how = f"searching its output took more than {SEARCH_WITHIN:g} s: a pattern that backtracks?"
            return replace(said, verdict=Verdict.UNKNOWN, how=how)
        if not found:
            return replace(said, verdict=Verdict.FAIL, how=f"its output does not match {self.config.stdout!r}")
        return said


def _environment(ctx: Context) -> dict[str, str]:
    endpoints = {node.name: str(node.endpoint()) for node in ctx.nodes.values()}
    return {"HARNESS_RUN_ID": ctx.run_id, "HARNESS_ENDPOINTS": json.dumps(endpoints)}


def _told(said: _Said) -> str:
    return f"{said.where}: {said.how}"


def _evidence(said: Sequence[_Said]) -> dict[str, Any]:
    return {one.where: {"verdict": one.verdict.value, "how": one.how, **one.said} for one in said}
