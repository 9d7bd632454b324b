"""The task `wait-for`: until a port is open, or a path is there."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from harness.api import Config, Duration, InfrastructureError, Machine, Task, TaskContext, TaskResult
from harness_tasks.options import RemotePath
from harness_tasks.remote import ask

_MARGIN = 30.0
"""Seconds that the machine gets beside the time for waiting."""


class WaitForConfig(Config):
    """Write `port` or `path`."""

    port: Annotated[int, Field(ge=1, le=65535)] | None = Field(None, description="TCP port that takes connections")
    address: Annotated[str, Field(min_length=1)] = Field("127.0.0.1", description="where, as the machine reaches it")
    path: RemotePath | None = Field(None, description="path that exists, instead of port")
    timeout: Duration = Field(60.0, gt=0, description="how long to wait; then the task fails")

    @model_validator(mode="after")
    def _one_thing(self) -> WaitForConfig:
        if (self.port is None) == (self.path is None):
            raise ValueError("write one of port and path")
        return self


class WaitFor(Task[WaitForConfig]):
    """Waits on the machine until a TCP port takes connections, or a path exists, and fails when that does not come.

    It changes nothing. `check` looks once and tells."""

    name = "wait-for"
    Config = WaitForConfig

    async def apply(self, machine: Machine, ctx: TaskContext) -> TaskResult:
        answer = await self._wait(machine, ctx, self.config.timeout)
        if not answer["there"]:
            raise InfrastructureError(f"{self._what} is not there after {self.config.timeout:g} s{answer['said']}")
        return TaskResult(changed=False, detail=f"{self._what} is there after {answer['seconds']:.1f} s")

    async def check(self, machine: Machine, ctx: TaskContext) -> TaskResult:
        answer = await self._wait(machine, ctx, 0.0)
        return TaskResult(changed=False, detail=f"{self._what} is {'there' if answer['there'] else 'not there now'}")

    @property
    def _what(self) -> str:
        return self.config.path or f"port {self.config.port} of {self.config.address}"

    async def _wait(self, machine: Machine, ctx: TaskContext, timeout: float) -> Any:
        request = {"port": self.config.port, "host": self.config.address, "path": self.config.path, "timeout": timeout}
        return await ask(machine, "wait", request, become=ctx.become, timeout=timeout + _MARGIN)
