"""The engine over fakes: a registry with the fake chain and deployer, and a plugin file of small, willing parts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from harness.plugin.discovery import Candidate, Kind
from harness.plugin.registry import Registry
from harness.testing import Finished, fake_candidates, run_playbook

PLUGINS = '''
import anyio
from harness.api import *
from harness.api import hookimpl

class SayConfig(Config):
    verdict: str = "pass"
    crash: bool = False
    wait: bool = False

class Say(Expectation[SayConfig]):
    """Says what it is told to."""
    name = "say"
    Config = SayConfig
    async def evaluate(self, ctx):
        if self.config.crash:
            raise KeyError("oops")
        if self.config.wait:
            await anyio.sleep_forever()
        return Judgement(Verdict(self.config.verdict), "said", "to say", {"drawn": ctx.rng().random()})

class Alarm(Expectation[NoConfig]):
    """Is violated by the third block that it sees."""
    name = "alarm"
    def __init__(self, config):
        super().__init__(config)
        self.seen = 0
    def observe_block(self, ctx, seen):
        self.seen += 1
        return Violation("the third", {"node": seen.node}) if self.seen == 3 else None
    async def evaluate(self, ctx):
        return Judgement(Verdict.FAIL if self.seen >= 3 else Verdict.PASS, str(self.seen), "less than 3")

class Crier(Expectation[NoConfig]):
    """Cries at the second block, and says pass in the end."""
    name = "crier"
    def __init__(self, config):
        super().__init__(config)
        self.seen = 0
    def observe_block(self, ctx, seen):
        self.seen += 1
        return Violation("cried", {}) if self.seen == 2 else None
    async def evaluate(self, ctx):
        return Judgement(Verdict.PASS, "calm", "calm")

class Clumsy(Expectation[NoConfig]):
    """Trips over the first block."""
    name = "clumsy"
    def observe_block(self, ctx, seen):
        raise KeyError("tripped")
    async def evaluate(self, ctx):
        return Judgement(Verdict.PASS, "fine", "fine")

class HoldConfig(Config):
    heal: str = "well"
    twice: bool = False

class Sticky(Fault[HoldConfig]):
    """A fault that does as it is told when it is healed."""
    name = "sticky"
    Config = HoldConfig
    async def inject(self, ctx): pass
    async def prove(self, ctx):
        if self.config.heal == "slow": await anyio.sleep(0.5)
        return Proof(None if self.config.heal == "unseen" else True)
    async def heal(self, ctx):
        if self.config.heal == "hang": await anyio.sleep_forever()
        if self.config.heal == "crash": raise ValueError("cannot heal")
        self.asked = getattr(self, "asked", 0) + 1
        if self.config.heal == "second" and self.asked < 2: raise ValueError("cannot heal yet")
    async def prove_healed(self, ctx):
        if self.config.heal == "slow-proof": await anyio.sleep_forever()
        return Proof(True)

class Hold(Workload[HoldConfig]):
    """Holds a sticky fault on the first node until the deadline; perhaps tries it twice at once."""
    name = "hold"
    Config = HoldConfig
    async def run(self, ctx):
        node = next(iter(ctx.nodes.values()))
        async with ctx.faults.apply(Sticky(self.config), [node], by=ctx.component):
            if self.config.twice:
                assert not ctx.faults.allows(Sticky(self.config), [node])
                async with ctx.faults.apply(Sticky(self.config), [node], by=ctx.component):
                    pass
            await ctx.clock.sleep_until(ctx.deadline)

class DoConfig(Config):
    what: str = "nothing"

class Do(Workload[DoConfig]):
    """Does what it is told to."""
    name = "do"
    Config = DoConfig
    async def prepare(self, ctx):
        if self.config.what == "fail-prepare":
            raise InfrastructureError("could not prepare")
    async def run(self, ctx):
        match self.config.what:
            case "crash": raise RuntimeError("a bug")
            case "fail": raise InfrastructureError("broken pipe")
            case "hang": await anyio.sleep_forever()
            case "draw": ctx.note("drew", number=ctx.rng().random())
            case "group":
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._complain, "one")
                    await self._complain("two")
            case "wait": await ctx.clock.sleep_until(ctx.deadline)
            case "tick":
                while ctx.clock.now() < ctx.deadline:
                    await anyio.sleep(0.01)
                    held = await ctx.unpaused()
                    ctx.note("tick", held=held)
            case "bring": pass
    async def _complain(self, text):
        raise InfrastructureError(text)
    def expectations(self):
        return [DefaultExpectation("say", {"verdict": "fail"})] if self.config.what == "bring" else []

@hookimpl
def harness_workloads(): return [Do, Hold]
@hookimpl
def harness_faults(): return [Sticky]
@hookimpl
def harness_expectations(): return [Say, Alarm, Crier, Clumsy]
'''

PLAYBOOK = """
name = "test"
chain = {{ use = "fake"{chain} }}
duration = "{duration}"
ready_timeout = "{ready}"
{top}
[topology]
layout = "full"
validators = 3
{rest}
"""

Run = Callable[..., Awaitable[Finished]]


@pytest.fixture
def fake_registry(tmp_path: Path) -> Registry:
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "parts.py").write_text(PLUGINS)
    from importlib.metadata import EntryPoint

    nemesis = [
        Candidate(kind, name, "harness", entry_point=EntryPoint(f"{kind}.{name}", "harness_nemesis", "harness"))
        for kind, name in ((Kind.WORKLOAD, "chaos.restart"), (Kind.FAULT, "restart"))
    ]
    return Registry([*fake_candidates(), *nemesis], project_plugins=folder)


@pytest.fixture
def run_fake(fake_registry: Registry, tmp_path: Path) -> Run:
    async def run(
        rest: str = '[[expectations]]\nuse = "say"',
        *,
        chain: str = "",
        top: str = "seed = 7",
        ready: str = "2s",
        duration: str = "200ms",
        options: dict[str, Any] | None = None,
        on_event: Any = None,
    ) -> Finished:
        text = PLAYBOOK.format(chain=f", {chain}" if chain else "", top=top, rest=rest, ready=ready, duration=duration)
        return await run_playbook(
            text, tmp_path / "runs", fake_registry, deployer="fake", options=options, on_event=on_event
        )

    return run
