"""A devnet that is broken on purpose, or not, and judged."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest

from harness.plugin.registry import Registry
from harness.testing import Finished, run_playbook

PLAYBOOK = """
name = "judged"
duration = "{duration}"
seed = 11
budget = "unlimited"
chain = {{ use = "devnet", slot_duration = "{slot}", active_slot_coeff = {f}, security_param = 4{chain} }}
[topology]
layout = "full"
validators = 3
executors = 1
[wallets]
count = 8
{rest}
"""
VANDAL = '''
import anyio
from harness.api import Config, Workload, hookimpl

class LogThief(Workload[Config]):
    """Takes a node's log away, once there is one."""
    name = "log-thief"
    Config = Config

    async def run(self, ctx):
        await anyio.Path(ctx.nodes["validator-2"].log_path).unlink()

@hookimpl
def harness_workloads():
    return [LogThief]
'''
Network = Callable[..., Awaitable[Finished]]


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Network:
    """Run it: `misbehave` maps nodes to switches, `rest` is the remaining part of the playbook."""
    monkeypatch.setenv("HARNESS_DEVNET_MISBEHAVE", "allowed")
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "vandal.py").write_text(VANDAL)

    async def run(
        rest: str, misbehave: Mapping[str, str] | None = None, duration: str = "3s", slot: str = "80ms", f: float = 0.5
    ) -> Finished:
        table = ", ".join(f'{name} = "{switch}"' for name, switch in (misbehave or {}).items())
        chain = f", misbehave = {{ {table} }}" if table else ""
        playbook = PLAYBOOK.format(rest=rest, duration=duration, slot=slot, f=f, chain=chain)
        return await run_playbook(playbook, tmp_path / "runs", Registry(project_plugins=plugins), deployer="process")

    return run
