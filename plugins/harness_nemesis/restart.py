"""The fault `restart`: a node's process ends, and after a while a new one is started."""

from __future__ import annotations

from typing import Literal

from harness.api import Config, Duration, Fault, FaultContext, MachineCapability, Proof


class RestartConfig(Config):
    """`how`: "stop" (the chain's stop signal, then SIGKILL) or "kill" (SIGKILL at once)."""

    how: Literal["stop", "kill"] = "stop"
    ready_timeout: Duration = 30.0


class Restart(Fault[RestartConfig]):
    """Ends the process of each target and starts it again when healed.

    Proven by the kernel no longer having the old process; healed when a new process answers on the node's API."""

    name = "restart"
    Config = RestartConfig

    def __init__(self, config: RestartConfig) -> None:
        super().__init__(config)
        self._old_pids: dict[str, int | None] = {}

    def requires_machine(self) -> frozenset[MachineCapability]:
        return frozenset({MachineCapability.NODE_CONTROL})

    async def inject(self, ctx: FaultContext) -> None:
        for node in ctx.targets:
            self._old_pids[node.name] = node.pid
            await (node.stop() if self.config.how == "stop" else node.kill())

    async def prove(self, ctx: FaultContext) -> Proof:
        seen = {
            node.name: {"process": await node.process_state(), "pid": self._old_pids[node.name]} for node in ctx.targets
        }
        return Proof(all(one["process"] == "gone" for one in seen.values()), seen)

    async def heal(self, ctx: FaultContext) -> None:
        for node in ctx.targets:
            await node.start()

    async def prove_healed(self, ctx: FaultContext) -> Proof:
        seen = {}
        for node in ctx.targets:
            await node.wait_ready(self.config.ready_timeout)
            seen[node.name] = {"process": await node.process_state(), "pid": node.pid}
        fresh = all(one["pid"] != self._old_pids.get(name) for name, one in seen.items())
        return Proof(fresh and all(one["process"] == "running" for one in seen.values()), seen)
