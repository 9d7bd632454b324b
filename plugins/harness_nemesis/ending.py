"""Faults that end a node's process and start it again when healed: `restart`, `kill`, `stop`."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Literal, TypeVar

from harness.api import Config, Duration, Fault, FaultContext, MachineCapability, Node, Proof
from harness_nemesis.together import each


class EndingConfig(Config):
    """`ready_timeout`: how long a node may take, once it is started again, until its API answers."""

    ready_timeout: Duration = 30.0


class RestartConfig(EndingConfig):
    """`how`: "stop" (the chain's stop signal, then SIGKILL) or "kill" (SIGKILL at once). `ready_timeout`: how long a
    node may take, once it is started again, until its API answers."""

    how: Literal["stop", "kill"] = "stop"


EndingConfigT = TypeVar("EndingConfigT", bound=EndingConfig)


class _Ending(Fault[EndingConfigT]):
    """What they have in common: only how the process is ended differs."""

    def __init__(self, config: EndingConfigT) -> None:
        super().__init__(config)
        self._old_pids: dict[str, int | None] = {}

    def requires_machine(self) -> frozenset[MachineCapability]:
        return frozenset({MachineCapability.NODE_CONTROL})

    @abstractmethod
    async def end(self, node: Node) -> Any: ...

    async def inject(self, ctx: FaultContext) -> None:
        async def one(node: Node) -> None:
            self._old_pids.setdefault(node.name, node.pid)
            await self.end(node)

        await each(ctx.targets, one)

    async def prove(self, ctx: FaultContext) -> Proof:
        seen = {
            node.name: {"process": await node.process_state(), "pid": self._old_pids[node.name]} for node in ctx.targets
        }
        return Proof(all(one["process"] == "gone" for one in seen.values()), seen)

    async def heal(self, ctx: FaultContext) -> None:
        await each(ctx.targets, lambda node: node.start())

    async def prove_healed(self, ctx: FaultContext) -> Proof:
        seen: dict[str, dict[str, Any]] = {}

        async def one(node: Node) -> None:
            await node.wait_ready(self.config.ready_timeout)
            seen[node.name] = {"process": await node.process_state(), "pid": node.pid}

        await each(ctx.targets, one)
        fresh = all(one["pid"] != self._old_pids.get(name) for name, one in seen.items())
        return Proof(fresh and all(one["process"] == "running" for one in seen.values()), seen)


class Restart(_Ending[RestartConfig]):
    """Ends the process of each target and starts it again when healed.

    Proven by the kernel no longer having the old process; healed when a new process answers on the node's API."""

    name = "restart"
    Config = RestartConfig

    async def end(self, node: Node) -> Any:
        return await (node.stop() if self.config.how == "stop" else node.kill())


class Kill(_Ending[EndingConfig]):
    """SIGKILL: the process of each target ends at once, whatever it was about to write. Healed by starting it again.

    Proven by the kernel no longer having the process; healed when a new process answers on the node's API."""

    name = "kill"
    Config = EndingConfig

    async def end(self, node: Node) -> Any:
        return await node.kill()


class Stop(_Ending[EndingConfig]):
    """Stops each target as its operator would (the chain's stop signal), and starts it again when healed.

    Proven by the kernel no longer having the process; healed when a new process answers on the node's API."""

    name = "stop"
    Config = EndingConfig

    async def end(self, node: Node) -> Any:
        return await node.stop()
