"""The task `service`: a systemd unit in the state that is asked for."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from harness.api import Config, Duration, InfrastructureError, Machine, Task, TaskContext, TaskResult
from harness_tasks.options import UnitName
from harness_tasks.remote import must

_PROPERTIES = ("LoadState", "ActiveState", "UnitFileState", "NeedDaemonReload")
_RUNNING = frozenset({"active", "activating", "reloading", "refreshing"})
_ON = frozenset({"enabled", "alias", "static", "indirect", "generated"})
"""States in which a unit is enabled as far as it can be: `systemctl is-enabled` succeeds, and for good."""
_OFF_IS_NOT = frozenset({"enabled", "enabled-runtime", "linked", "linked-runtime", "alias"})

State = Literal["started", "stopped", "restarted", "reloaded"]


class ServiceConfig(Config):
    """Options of `service`."""

    unit: UnitName = Field(description="name of the systemd unit")
    state: State | None = Field(None, description="what it is to be, or to be made, now")
    enabled: bool | None = Field(None, description="whether it is started with the machine")
    timeout: Duration = Field(120.0, gt=0, description="how long systemd may take")

    @model_validator(mode="after")
    def _something(self) -> ServiceConfig:
        if self.state is None and self.enabled is None:
            raise ValueError("write state or enabled")
        return self


class Service(Task[ServiceConfig]):
    """Starts, stops, restarts or reloads a systemd unit, and has it started with the machine, or not.

    `restarted` and `reloaded` are done each time, and count as changes; one that is not running is started. Unit files
    that were changed are read again before."""

    name = "service"
    Config = ServiceConfig

    async def apply(self, machine: Machine, ctx: TaskContext) -> TaskResult:
        state = await self._look(machine, ctx)
        if state["LoadState"] == "not-found":
            raise InfrastructureError(f"there is no unit {self.config.unit}")
        verbs = self._verbs(state)
        if verbs and state["NeedDaemonReload"] == "yes":
            await self._systemctl(machine, ctx, "daemon-reload")
        for verb in verbs:
            await self._systemctl(machine, ctx, verb, "--", self.config.unit)
        return TaskResult(bool(verbs), f"{self.config.unit}: {', '.join(verbs)}" if verbs else "")

    async def check(self, machine: Machine, ctx: TaskContext) -> TaskResult:
        state = await self._look(machine, ctx)
        verbs = self._verbs(state)
        known = "" if state["LoadState"] != "not-found" else ", which is not there yet"
        return TaskResult(bool(verbs), f"{', '.join(verbs)} {self.config.unit}{known}" if verbs else "")

    def _verbs(self, state: dict[str, str]) -> list[str]:
        """What systemctl has to do."""
        verbs = []
        if self.config.enabled is True and state["UnitFileState"] not in _ON:
            verbs.append("enable")
        if self.config.enabled is False and state["UnitFileState"] in _OFF_IS_NOT:
            verbs.append("disable")
        runs = state["ActiveState"] in _RUNNING
        match self.config.state:
            case "started" if not runs:
                verbs.append("start")
            case "stopped" if runs:
                verbs.append("stop")
            case "restarted":
                verbs.append("restart")
            case "reloaded":
                verbs.append("reload" if runs else "start")
        return verbs

    async def _look(self, machine: Machine, ctx: TaskContext) -> dict[str, str]:
        done = await self._systemctl(
            machine, ctx, "show", *(f"--property={name}" for name in _PROPERTIES), "--", self.config.unit
        )
        found = dict(line.split("=", 1) for line in done.splitlines() if "=" in line)
        return {name: found.get(name, "") for name in _PROPERTIES}

    async def _systemctl(self, machine: Machine, ctx: TaskContext, *words: str) -> str:
        argv = ("systemctl", *words)
        done = await must(machine, argv, become=ctx.become, timeout=self.config.timeout)
        return done.stdout.decode(errors="replace")
