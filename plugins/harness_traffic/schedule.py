"""The options of a load: how many, when, and within which bounds."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from harness.api import (
    Arrivals,
    Config,
    Context,
    Duration,
    PlanView,
    Profile,
    Rate,
    Span,
    constant,
    format_duration,
    of_points,
)

LONGEST_TIMEOUT = 25.0
"""Seconds that answers are waited for after the drive at most: a workload has to end then."""
HIGHEST = 1e6
"""Requests a second: what is more cannot be offered, and not even be counted in time."""


class Stage(Config):
    """From the stage before, the rate goes in a straight line to this one; with `jump`, it changes then, at once."""

    at: Span = Field(description="when: after so long, or so many blocks")
    rate: Rate = Field(description="the rate at that time")
    jump: bool = Field(False, description="change at that moment instead of in a straight line up to it")


class ScheduleConfig(Config):
    """What all workloads have that send at a rate."""

    rate: Rate = Field(Rate(10.0), description="how many to offer: per block, or per second; with stages, at first")
    stages: list[Stage] = Field(
        default_factory=list, description="how the rate changes: ramps, and with `jump` steps and spikes"
    )
    arrivals: Arrivals = Field("uniform", description="evenly spaced, or at random as of many independent users")
    warm_up: Duration = Field(0.0, ge=0, description="latencies count from then on")
    submit_timeout: Duration = Field(5.0, gt=0, description="how long to wait for an answer, all attempts together")
    max_in_flight: int = Field(256, ge=1, le=20_000, description="what would be more at once is dropped, and counted")
    senders: int | None = Field(
        None,
        ge=1,
        le=64,
        description="processes on each machine that sends; by default one for 15,000 a second, as cores allow",
    )

    def profile(self, block_interval: float, seconds: float) -> Profile:
        """The rate over so many seconds. Raises ValueError for stages out of order."""
        rate = self.rate.per_second(block_interval)
        if not self.stages:
            return constant(rate, seconds)
        points = [(0.0, rate)]
        for stage in self.stages:
            at, then = stage.at.seconds(block_interval), stage.rate.per_second(block_interval)
            if stage.jump:
                points.append((at, points[-1][1]))
            points.append((at, then))
        return of_points(points, seconds)

    def problems(self, ctx: PlanView) -> Sequence[str]:
        """What is wrong with them, looked at in plan."""
        try:
            profile = self.profile(ctx.block_interval, ctx.duration)
        except ValueError:
            return ("stages are not in order of time",)
        if profile.amount <= 0:
            return (f"rate = {self.rate}: nothing would be sent",)
        if profile.peak > HIGHEST:
            return (f"{profile.peak:,.0f} a second: nothing can send more than {HIGHEST:,.0f}",)
        if self.submit_timeout > LONGEST_TIMEOUT:
            bound = f"no answer is waited for longer than {format_duration(LONGEST_TIMEOUT)}"
            return (f"submit_timeout = {format_duration(self.submit_timeout)}: {bound}",)
        if self.warm_up >= ctx.duration:
            return (f"warm_up = {format_duration(self.warm_up)}: nothing would be measured",)
        return ()

    def told(self, ctx: PlanView) -> str:
        """The rate in words."""
        profile = self.profile(ctx.block_interval, ctx.duration)
        if self.stages:
            return f"{self.rate}, then up to {profile.peak:.3g}/s in {len(self.stages)} stages"
        return f"{self.rate} = {profile.peak:.3g}/s"


def whole(ctx: Context, config: ScheduleConfig) -> Profile:
    """The rate over the drive."""
    return config.profile(ctx.block_interval, ctx.deadline - ctx.window.start)
