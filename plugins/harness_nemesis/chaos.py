"""The nemesis `chaos.restart`: restarts nodes at random moments, fixed by the seed, within the fault budget."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import model_validator

from harness.api import Config, Context, Duration, FaultError, MachineCapability, PlanView, Workload, format_duration
from harness_nemesis.restart import Restart, RestartConfig


class ChaosRestartConfig(Config):
    """A restart every `min_delay` to `max_delay`, each node at most once in `target_cooldown`.

    `targets`: which nodes, as a pattern of names and roles ("validator:!validator-0"). `down`: how long a
    node stays down. `how`: "stop" gently or "kill"."""

    min_delay: Duration = 10.0
    max_delay: Duration = 20.0
    target_cooldown: Duration = 15.0
    targets: str = "all"
    down: Duration = 0.0
    how: Literal["stop", "kill"] = "stop"

    @model_validator(mode="after")
    def _ordered(self) -> ChaosRestartConfig:
        if self.min_delay > self.max_delay:
            raise ValueError(
                f"min_delay ({format_duration(self.min_delay)}) is longer than max_delay "
                f"({format_duration(self.max_delay)}); write the shorter one as min_delay"
            )
        return self


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of the schedule: when (seconds since the drive began), and who; None when all are cooling down."""

    at: float
    node: str | None


def schedule(rng: random.Random, names: Sequence[str], config: ChaosRestartConfig, duration: float) -> list[Turn]:
    """All turns of a run, from the seed alone: how long restarts really take changes nothing in it.

    A node's cooldown runs from the planned end of its last restart."""
    turns: list[Turn] = []
    free_from: dict[str, float] = {}
    at = rng.uniform(config.min_delay, config.max_delay)
    while at < duration:
        free = [name for name in names if at >= free_from.get(name, 0.0)]
        node = rng.choice(free) if free else None
        if node is not None:
            free_from[node] = at + config.down + config.target_cooldown
        turns.append(Turn(at, node))
        at += rng.uniform(config.min_delay, config.max_delay)
    return turns


class ChaosRestart(Workload[ChaosRestartConfig]):
    """Restarts nodes at random: one after a delay drawn between min_delay and max_delay, then again.

    The moments and the nodes are fixed by the seed. A node that was restarted less than target_cooldown ago is
    passed over. A turn is skipped when every node is cooling down, or when the fault budget does not allow its
    node to be taken down at that moment; skipped turns are counted and shown, never given to another node."""

    name = "chaos.restart"
    Config = ChaosRestartConfig

    def requires_machine(self) -> frozenset[MachineCapability]:
        return frozenset({MachineCapability.NODE_CONTROL})

    def acts_on(self) -> str:
        return self.config.targets

    def check(self, ctx: PlanView) -> Sequence[str]:
        complaints = [*ctx.unmatched("targets", self.config.targets)]
        if ctx.duration <= self.config.min_delay:
            complaints.append(
                f"the first restart comes after min_delay ({format_duration(self.config.min_delay)}), when the "
                f"drive is over ({format_duration(ctx.duration)})"
            )
        return complaints

    def describe(self, ctx: PlanView) -> str:
        c = self.config
        return (
            f"{c.how} and start again one of {c.targets} every {format_duration(c.min_delay)} to "
            f"{format_duration(c.max_delay)}, each at most once in {format_duration(c.target_cooldown)}"
        )

    async def run(self, ctx: Context) -> None:
        names = [node.name for node in ctx.select(self.config.targets)]
        figures = {"restarts": 0, "skipped": 0}
        ctx.progress(**figures)
        for turn in schedule(ctx.rng(), names, self.config, ctx.deadline - ctx.window.start):
            await ctx.clock.sleep_until(ctx.window.start + turn.at)
            figures["restarts" if await self._take(ctx, turn.node) else "skipped"] += 1
            ctx.progress(**figures)
        if not figures["restarts"]:
            # What was to be judged is how the network bears restarts: without any, no verdict says that.
            raise FaultError(f"no node was restarted: {figures['skipped']} turns came, all were skipped")

    async def _take(self, ctx: Context, name: str | None) -> bool:
        """Restart this node, if that is allowed now."""
        if name is None:
            ctx.note("skipped a turn: all nodes are cooling down")
            return False
        fault = Restart(RestartConfig(how=self.config.how))
        if not ctx.faults.allows(fault, [ctx.nodes[name]]):
            ctx.note(f"skipped {name}: the fault budget does not allow to take it down now")
            return False
        async with ctx.faults.apply(fault, [ctx.nodes[name]], by=ctx.component):
            await ctx.clock.sleep(min(self.config.down, ctx.deadline - ctx.clock.now()))
        return True
