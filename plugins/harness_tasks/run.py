"""The task `run`: a command, or a script for sh."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from pydantic import Field, model_validator

from harness.api import Completed, Config, Duration, InfrastructureError, Machine, Task, TaskContext, TaskResult
from harness_tasks.options import RemotePath, Word, Words
from harness_tasks.remote import words

_SHELL = ("sh", "-e", "-c", 'eval "$(cat)" </dev/null')
"""sh that reads its script from stdin before it runs it: otherwise whatever in it reads stdin would eat up the rest."""


class RunConfig(Config):
    """Write `argv` or `script`."""

    argv: Words | None = Field(None, description="program and arguments, as they are: no shell is involved")
    script: Word | None = Field(None, description="for sh -e, instead of argv: ends at the first command that fails")
    creates: RemotePath | None = Field(None, description="nothing is done where this path is there")
    unless: Word | None = Field(None, description="nothing is done where this script, which must only look, succeeds")
    chdir: RemotePath | None = Field(None, description="folder to run in")
    env: Mapping[str, Word] = Field({}, description="more environment variables")
    timeout: Duration = Field(60.0, gt=0, description="how long it may take; then it is killed")

    @model_validator(mode="after")
    def _one_command(self) -> RunConfig:
        if (self.argv is None) == (self.script is None):
            raise ValueError("write one of argv and script")
        return self


class Run(Task[RunConfig]):
    """Runs a command, or a script, and fails when that fails.

    It runs each time, and counts as a change, unless `creates` or `unless` says that it is done. A script has no
    standard input. `check` runs nothing but `unless`."""

    name = "run"
    Config = RunConfig

    async def apply(self, machine: Machine, ctx: TaskContext) -> TaskResult:
        if done := await self._done(machine, ctx):
            return TaskResult(changed=False, detail=done)
        ran = await self._run(machine, ctx, self.config.argv, self.config.script)
        if ran.returncode != 0:
            raise InfrastructureError(words(ran))
        return TaskResult(changed=True, detail=f"ran in {ran.seconds:.1f} s")

    async def check(self, machine: Machine, ctx: TaskContext) -> TaskResult:
        if done := await self._done(machine, ctx):
            return TaskResult(changed=False, detail=done)
        lines = (self.config.script or "").strip().splitlines()
        what = " ".join(self.config.argv or ()) or lines[0] + (" …" if len(lines) > 1 else "")
        return TaskResult(changed=True, detail=what)

    async def _done(self, machine: Machine, ctx: TaskContext) -> str:
        """Why there is nothing to be done, "" when there is something."""
        config = self.config
        if config.creates is not None:
            there = await self._run(machine, ctx, ("test", "-e", config.creates))
            if there.returncode == 0:
                return f"{config.creates} is there"
        if config.unless is not None:
            done = await self._run(machine, ctx, None, config.unless)
            if done.returncode == 0:
                return "unless: it is done"
        return ""

    async def _run(
        self, machine: Machine, ctx: TaskContext, argv: tuple[str, ...] | None, script: str | None = None
    ) -> Completed:
        config = self.config
        return await machine.run(
            argv or _SHELL,
            input=(script or "").encode(),
            env=config.env,
            cwd=PurePosixPath(config.chdir) if config.chdir else None,
            timeout=config.timeout,
            become=ctx.become,
        )
