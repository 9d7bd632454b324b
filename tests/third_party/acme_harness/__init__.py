"""What a third party writes: it imports harness.api and nothing else of the core."""

from __future__ import annotations

import os
from pathlib import Path

import click

from harness.api import (
    Config,
    Context,
    DefaultExpectation,
    Duration,
    Expectation,
    Judgement,
    NoConfig,
    RunScreen,
    ScreenCommand,
    Verdict,
    Workload,
    hookimpl,
)


class PulseConfig(Config):
    """`every`: time between two beats."""

    every: Duration = 0.5


class Pulse(Workload[PulseConfig]):
    """Asks every node for its head, again and again."""

    name = "acme-pulse"
    Config = PulseConfig

    def expectations(self) -> list[DefaultExpectation]:
        return [DefaultExpectation("acme-beats")]

    async def run(self, ctx: Context) -> None:
        beats = 0
        while ctx.clock.now() < ctx.deadline:
            for node in ctx.nodes.values():
                await node.client().head()
            beats += 1
            ctx.progress(beats=beats)
            ctx.tracker("acme").accepted(ctx.tracker("acme").offer(ctx.clock.now()), id=f"beat-{beats}")
            await ctx.clock.sleep(self.config.every)


class Beats(Expectation[NoConfig]):
    """There were beats at all."""

    name = "acme-beats"

    async def evaluate(self, ctx: Context) -> Judgement:
        beats = ctx.tracker("acme").figures()["accepted"]
        return Judgement(Verdict.PASS if beats else Verdict.UNKNOWN, f"{beats} beats", "at least 1")


class Heights(ScreenCommand):
    """Shows how high each node is."""

    name = "acme-heights"

    async def run(self, screen: RunScreen) -> None:
        nodes = screen.state.nodes.values()
        screen.show("acme heights", "\n".join(f"{node.name} is at {node.height}" for node in nodes))


@click.command("acme")
def acme() -> None:
    """Say hello from a plugin."""
    click.echo("hello from acme")


@hookimpl
def harness_workloads() -> list[type[Pulse]]:
    return [Pulse]


@hookimpl
def harness_expectations() -> list[type[Beats]]:
    return [Beats]


@hookimpl
def harness_commands() -> list[click.Command]:
    return [acme]


@hookimpl
def harness_screen_commands() -> list[type[Heights]]:
    return [Heights]


@hookimpl
def harness_event(recorded) -> None:  # type: ignore[no-untyped-def]
    if path := os.environ.get("ACME_EVENTS"):
        with Path(path).open("a") as file:
            file.write(type(recorded.event).__name__ + "\n")
