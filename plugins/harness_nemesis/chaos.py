"""The nemesis `chaos.restart`: restarts nodes at random moments, fixed by the seed, within the fault budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import model_validator

from harness.api import Config, Context, Duration, MachineCapability, Node, PlanView, Workload, format_duration
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


class ChaosRestart(Workload[ChaosRestartConfig]):
    """Restarts nodes at random: one after a delay drawn between min_delay and max_delay, then again.

    The order of nodes and the delays are fixed by the seed. A node that was restarted less than
    target_cooldown ago is passed over, and so is one that the fault budget does not allow to take down;
    when no node is left, the turn is skipped, which is counted and shown."""

    name = "chaos.restart"
    Config = ChaosRestartConfig

    def requires_machine(self) -> frozenset[MachineCapability]:
        return frozenset({MachineCapability.NODE_CONTROL})

    def describe(self, ctx: PlanView) -> str:
        c = self.config
        return (
            f"{c.how} and start again one of {c.targets} every {format_duration(c.min_delay)} to "
            f"{format_duration(c.max_delay)}, each at most once in {format_duration(c.target_cooldown)}"
        )

    async def run(self, ctx: Context) -> None:
        rng = ctx.rng()
        last_healed: dict[str, float] = {}
        figures = {"restarts": 0, "skipped": 0}
        ctx.progress(**figures)
        moment = ctx.window.start
        while True:
            # Moments are drawn from the schedule, not from when the last restart was over: same seed, same times.
            moment += rng.uniform(self.config.min_delay, self.config.max_delay)
            order = list(ctx.select(self.config.targets))
            rng.shuffle(order)
            if moment >= ctx.deadline:
                return
            await ctx.clock.sleep_until(moment)
            target = self._first_allowed(ctx, order, last_healed)
            if target is None:
                figures["skipped"] += 1
                ctx.note("no node may be restarted now: all are cooling down or the fault budget is used up")
            else:
                fault = Restart(RestartConfig(how=self.config.how))
                async with ctx.faults.apply(fault, [target], by=ctx.component):
                    await ctx.clock.sleep(self.config.down)
                last_healed[target.name] = ctx.clock.now()
                figures["restarts"] += 1
            ctx.progress(**figures)

    def _first_allowed(self, ctx: Context, order: Sequence[Node], last_healed: dict[str, float]) -> Node | None:
        now = ctx.clock.now()
        for node in order:
            cooled = now - last_healed.get(node.name, float("-inf")) >= self.config.target_cooldown
            if cooled and ctx.faults.allows([node]):
                return node
        return None
