"""Nodes that a fault is bringing into the network: nobody else takes them until they are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.errors import ExitCode
from harness.plugin.registry import Registry
from harness.record.events import Note
from harness.record.journal import read_journal
from harness.testing import fake_candidates, run_playbook

pytestmark = pytest.mark.anyio

PARTS = '''
import anyio
from harness.api import *
from harness.api import hookimpl

class Down(Fault[NoConfig]):
    """Takes its targets out."""
    name = "down"
    async def inject(self, ctx): pass
    async def prove(self, ctx): return Proof(True)
    async def heal(self, ctx): pass
    async def prove_healed(self, ctx): return Proof(True)

class Bring(Down):
    """Brings the first absent node in the place of its target, and is proven when it is told so."""
    name = "bring"
    def __init__(self, config):
        super().__init__(config)
        self.begun, self.go_on = anyio.Event(), anyio.Event()
    def comes(self, targets, absent):
        if not absent:
            raise FaultError("nobody is there to come")
        return absent[:1]
    async def inject(self, ctx):
        self.came = list(self.comes((), ctx.absent))
        self.begun.set()
        await self.go_on.wait()
        await ctx.nodes[self.came[0]].start()

class Watch(Workload[NoConfig]):
    """Two come, one after the other; what may be done to the first meanwhile is noted."""
    name = "watch"
    async def run(self, ctx):
        node, other, first, second, third = ctx.nodes.values()
        one, two = Bring(NoConfig()), Bring(NoConfig())
        held, healing = anyio.Event(), anyio.Event()
        async def bring():
            async with ctx.faults.apply(one, [node], by="one"):
                held.set()
                await healing.wait()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bring)
            await one.begun.wait()
            ctx.note("joining", why=ctx.faults.refuses(Down(NoConfig()), [first]))
            two.go_on.set()
            async with ctx.faults.apply(two, [other], by="two"):
                ctx.note("came", one=one.came, two=two.came)
                ctx.note("third", why=ctx.faults.refuses(Bring(NoConfig()), [third]))
            one.go_on.set()
            await held.wait()
            ctx.note("held", why=ctx.faults.refuses(Down(NoConfig()), [first]))
            ctx.note("nobody", why=ctx.faults.refuses(Bring(NoConfig()), [first]))
            healing.set()

class Fine(Expectation[NoConfig]):
    """Passes."""
    name = "fine"
    async def evaluate(self, ctx): return Judgement(Verdict.PASS, "fine", "fine")

@hookimpl
def harness_workloads(): return [Watch]
@hookimpl
def harness_faults(): return [Down, Bring]
@hookimpl
def harness_expectations(): return [Fine]
'''

PLAYBOOK = """
name = "coming"
chain = "fake"
duration = "300ms"
ready_timeout = "2s"
budget = "unlimited"
[topology]
layout = "full"
validators = 5
late = "validator-[23]"
[[workloads]]
use = "watch"
[[expectations]]
use = "fine"
"""


async def test_who_is_coming_is_nobody_elses_until_it_is_there(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "coming.py").write_text(PARTS)
    registry = Registry(fake_candidates(), project_plugins=plugins)
    finished = await run_playbook(PLAYBOOK, tmp_path / "runs", registry, deployer="fake")
    assert finished.outcome.exit_code is ExitCode.PASS, finished.outcome.reason
    events = [one.event for one in read_journal(finished.directory.journal)]
    noted: dict[str, Any] = {e.message: e.data for e in events if isinstance(e, Note)}
    assert noted["joining"]["why"] == "validator-2 is joining the network, by another fault"
    assert noted["came"] == {"one": ["validator-2"], "two": ["validator-3"]}, "not the same one twice"
    assert noted["held"]["why"] == "", "it is a node like any other"
    assert noted["third"]["why"] == noted["nobody"]["why"] == "nobody is there to come"
