"""`deployer("process").deploy(plan)`: the engine as a Python library."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from harness.engine.plan import Plan
from harness.engine.recorder import Recorder
from harness.engine.runner import Runner
from harness.engine.session import session
from harness.engine.target import Target, choose_target
from harness.plugin.registry import Registry
from harness.spec.inventory import Inventory


class PlanDeployer:
    """Deploys plans to one target. `runs` is the folder in which each run gets its own."""

    def __init__(self, target: Target, runs: Path) -> None:
        self._target = target
        self._runs = runs

    @asynccontextmanager
    async def deploy(self, plan: Plan) -> AsyncIterator[Runner]:
        """Stand the network up and give its runner; leaving tears it down and writes the result.

        Raises UsageError, DeployError, NotReadyError; InfrastructureError from `runner.run`."""
        recorder = Recorder.create(self._runs, plan, self._target)
        async with session(plan, self._target, recorder) as runner:
            yield runner


def deployer(
    name: str = "process", *, inventory: Path | str | None = None, runs: Path | str = "runs", **options: Any
) -> PlanDeployer:
    """A deployer by its plugin's name, with that plugin's options; hosts come from the inventory file, else
    this machine is the only host. Raises UsageError."""
    hosts = Inventory.read(Path(inventory)) if inventory is not None else Inventory.implicit()
    return PlanDeployer(choose_target(Registry(), hosts, deployer=name, options=options), Path(runs))
